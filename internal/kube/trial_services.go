package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// services has a pod reach another one, on another node, through the address of a service.
func (t *trial) services(ctx context.Context) (string, error) {
	server, err := t.serve(ctx, "services")
	if err != nil {
		return "", err
	}
	service, err := t.expose(ctx, server.Name, corev1.ServiceTypeClusterIP, nil)
	if err != nil {
		return "", err
	}
	url := "http://" + service.Spec.ClusterIP
	client, err := t.reach(ctx, server, "services-client", url)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, asked from a pod on %s, is answered by one on %s", url, client.Spec.NodeName, server.Spec.NodeName), nil
}

// reach has pods get a URL, one after the other, until one is answered: what was just made takes a moment to be
// known on every node.
func (t *trial) reach(ctx context.Context, server corev1.Pod, name, url string) (corev1.Pod, error) {
	return t.series(ctx, server, name, url, func(err error) error { return err })
}

// series has pods get a URL until judge, which gets the error that one was answered with, finds no fault.
func (t *trial) series(ctx context.Context, server corev1.Pod, name, url string, judge func(error) error) (corev1.Pod, error) {
	pause := newBackoff()
	var fault error
	for i := 1; ; i++ {
		client, err := t.fetch(ctx, server, fmt.Sprintf("%s-%d", name, i), url)
		var answer ended
		switch {
		case err == nil, errors.As(err, &answer):
			if err = judge(err); err == nil {
				return client, nil
			}
			fault = said{fmt.Sprintf("%s from a pod on %s, to one on %s: %s", url, client.Spec.NodeName, server.Spec.NodeName, err)}
		case fault == nil || ctx.Err() == nil:
			return client, err
		}
		// The next one may be cut short; it is the last that was answered which says what is wrong.
		if pause.wait(ctx) != nil {
			return client, fault
		}
		if err := t.delete(ctx, client.Name); err != nil && ctx.Err() == nil {
			return client, err
		}
	}
}

// networkPolicy denies a server all visitors, one of which it had before.
func (t *trial) networkPolicy(ctx context.Context) (string, error) {
	server, err := t.serve(ctx, "policy")
	if err != nil {
		return "", err
	}
	url := "http://" + podAddress(server)
	if _, err := t.reach(ctx, server, "policy-before", url); err != nil {
		return "", err
	}
	err = t.create(ctx, &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "policy"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{TrialLabel: server.Name}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	})
	if err != nil {
		return "", err
	}
	client, err := t.series(ctx, server, "policy-after", url, func(err error) error {
		switch {
		case err == nil:
			return errors.New("it is answered, though a NetworkPolicy denies it")
		case strings.Contains(err.Error(), "deadline exceeded"), strings.Contains(err.Error(), "timeout"):
			return nil // dropped, as a policy does; anything else is another fault
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a pod on %s reaches one on %s, and does not any more once that is denied", client.Spec.NodeName, server.Spec.NodeName), nil
}
