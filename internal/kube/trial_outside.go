package kube

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddressRange is all addresses from First to Last.
type AddressRange struct{ First, Last netip.Addr }

// LoadBalancerTrial is what is to be known of a load balancer to try it.
type LoadBalancerTrial struct {
	// Annotations have a service get an address where it would not without asking.
	Annotations map[string]string
	// Addresses are those that services get.
	Addresses []AddressRange
}

// loadBalancer has a service get an address, and asks there from a host.
func (t *trial) loadBalancer(ctx context.Context) (string, error) {
	server, err := t.serve(ctx, "load-balancer")
	if err != nil {
		return "", err
	}
	if _, err := t.expose(ctx, server.Name, corev1.ServiceTypeLoadBalancer, t.in.LoadBalancer.Annotations); err != nil {
		return "", err
	}
	address, err := t.balancerAddress(ctx, server.Name)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(t.in.LoadBalancer.Addresses, func(r AddressRange) bool {
		return r.First.Compare(address) <= 0 && address.Compare(r.Last) <= 0
	}) {
		return "", said{fmt.Sprintf("the service has the address %s, which is in no pool", address)}
	}
	host, err := t.from(server)
	if err != nil {
		return "", err
	}
	where := netip.AddrPortFrom(address, httpPort).String()
	if err := wantAnswer(ctx, question{dial: host.Dial, address: where}, server.Name); err != nil {
		return "", said{fmt.Sprintf("asked from %s: %s", host.Name, err)}
	}
	detail := fmt.Sprintf("%s answers %s", address, host.Name)
	once, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if answer, err := ask(once, question{dial: t.in.Here, address: where}); err != nil || answer != server.Name {
		return detail + ", but not this machine", nil // which need have no way there
	}
	return detail + " and this machine", nil
}

// balancerAddress waits for the address of a service.
func (t *trial) balancerAddress(ctx context.Context, name string) (netip.Addr, error) {
	var given string
	// Somebody has to give the address, which takes no time where one is there to be given.
	limited, cancel := context.WithTimeout(ctx, t.in.Timeout/4)
	defer cancel()
	err := Wait(limited, objectCondition{client: t.client, what: "the address of a service of type LoadBalancer", gvr: corev1.SchemeGroupVersion.WithResource("services"),
		namespace: t.namespace, name: name, judge: func(object Object) (bool, string) {
			var service corev1.Service
			if detail := typed(object, &service); detail != "" {
				return false, detail
			}
			for _, ingress := range service.Status.LoadBalancer.Ingress {
				given = ingress.IP
			}
			return given != "", "nobody gives it one"
		}}, nil)
	if err != nil {
		if warning := t.lastWarning(ctx, "Service", name); warning != "" {
			err = said{err.Error() + ": " + warning}
		}
		return netip.Addr{}, err
	}
	return parseAddress(given)
}

// IngressTrial is what is to be known of an ingress controller to try it.
type IngressTrial struct {
	// ClassName is the name of its IngressClass.
	ClassName string
	// Selector picks its services.
	Selector string
}

// ingress has the controller route a host name to a server.
func (t *trial) ingress(ctx context.Context) (string, error) {
	server, err := t.serve(ctx, "ingress")
	if err != nil {
		return "", err
	}
	if _, err := t.expose(ctx, server.Name, corev1.ServiceTypeClusterIP, nil); err != nil {
		return "", err
	}
	host := t.namespace + ".example.com"
	prefix := networkingv1.PathTypePrefix
	err = t.create(ctx, &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "Ingress"},
		ObjectMeta: metav1.ObjectMeta{Name: server.Name},
		Spec: networkingv1.IngressSpec{
			IngressClassName: &t.in.Ingress.ClassName,
			Rules: []networkingv1.IngressRule{{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &prefix, Backend: networkingv1.IngressBackend{
					Service: &networkingv1.IngressServiceBackend{Name: server.Name, Port: networkingv1.ServiceBackendPort{Number: httpPort}},
				}}},
			}}}},
		},
	})
	if err != nil {
		return "", err
	}
	service, port, err := t.controller(ctx)
	if err != nil {
		return "", err
	}
	node, err := t.from(server)
	if err != nil {
		return "", err
	}
	where := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
	if err := wantAnswer(ctx, question{dial: node.Dial, address: where, host: host}, server.Name); err != nil {
		return "", said{fmt.Sprintf("asked from %s: %s", node.Name, err)}
	}
	detail := fmt.Sprintf("http://%s routes by host name", where)
	if port.NodePort == 0 {
		return detail, nil
	}
	through, err := t.nodePort(ctx, port.NodePort, host, server.Name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, and so does port %d of %s", detail, port.NodePort, through), nil
}

// controller is the service of the controller, and its port of HTTP.
func (t *trial) controller(ctx context.Context) (corev1.Service, corev1.ServicePort, error) {
	found, err := t.client.List(ctx, corev1.SchemeGroupVersion.WithKind("Service"), "", t.in.Ingress.Selector)
	if err != nil {
		return corev1.Service{}, corev1.ServicePort{}, err
	}
	for _, object := range found {
		var service corev1.Service
		if detail := typed(object, &service); detail != "" {
			return service, corev1.ServicePort{}, said{detail}
		}
		for _, port := range service.Spec.Ports {
			if port.Port == httpPort {
				return service, port, nil
			}
		}
	}
	return corev1.Service{}, corev1.ServicePort{}, fmt.Errorf("no service of the controller has port %d: there is none that is labelled %s", httpPort, t.in.Ingress.Selector)
}

// nodePort asks at the port of every node, of all at once, until one answers: with the client's address preserved,
// only those do that run the controller, and the others are silent.
func (t *trial) nodePort(ctx context.Context, port int32, host, pod string) (string, error) {
	through := ""
	err := persist(ctx, fmt.Sprintf("port %d of every node", port), func(ctx context.Context) error {
		errs := make([]error, len(t.in.Nodes))
		var all sync.WaitGroup
		for i, node := range t.in.Nodes {
			asker := t.in.Nodes[(i+1)%len(t.in.Nodes)]
			all.Go(func() {
				once, cancel := context.WithTimeout(ctx, fetchTimeout)
				defer cancel()
				answer, err := ask(once, question{dial: asker.Dial, address: netip.AddrPortFrom(node.IP, uint16(port)).String(), host: host})
				if err == nil && answer != pod {
					err = said{fmt.Sprintf("something else answers: %.80q", answer)}
				}
				errs[i] = err
			})
		}
		all.Wait()
		var failed []string
		for i, node := range t.in.Nodes {
			if errs[i] == nil {
				through = node.Name
				return nil
			}
			failed = append(failed, node.Name+": "+explainError(errs[i]))
		}
		return said{strings.Join(failed, "; ")}
	})
	return through, err
}
