package kube

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
)

// RegistryTrial is what is to be known of a registry in the cluster to try it.
type RegistryTrial struct {
	// Host is what names of its images begin with.
	Host string
	// Address is that of its service, for which the cluster's authority has given it a certificate.
	Address netip.AddrPort
}

// registry pushes an image, and has a pod run from it.
func (t *trial) registry(ctx context.Context) (_ string, err error) {
	images, err := programImages(t.namespace)
	if err != nil {
		return "", err
	}
	reference, err := name.NewTag(t.in.Registry.Host + "/kubewright-verify:" + t.namespace)
	if err != nil {
		return "", err
	}
	through, err := t.registryTransport()
	if err != nil {
		return "", err
	}
	options := func(ctx context.Context) []remote.Option {
		return []remote.Option{remote.WithContext(ctx), remote.WithTransport(through), remote.WithRetryBackoff(remote.Backoff{Steps: 1})}
	}
	if err := persist(ctx, "push "+reference.Name(), func(ctx context.Context) error {
		return remote.WriteIndex(reference, images, options(ctx)...)
	}); err != nil {
		return "", err
	}
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
		defer cancel()
		err = errors.Join(err, forget(reference, images, options(tidy)))
	}()
	pod := t.pod("registry")
	pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = reference.Name(), corev1.PullAlways
	ended, err := t.finish(ctx, pod)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was pushed, and a pod on %s has run it", reference.Name(), ended.Spec.NodeName), nil
}

// registryTransport leads to the service of the registry through a host, whatever is asked for.
func (t *trial) registryTransport() (http.RoundTripper, error) {
	host, err := t.from(corev1.Pod{})
	if err != nil {
		return nil, err
	}
	address := t.in.Registry.Address
	config := t.client.tls.Clone()
	config.Certificates, config.ServerName = nil, address.Addr().String()
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: config, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return host.Dial(ctx, network, address.String())
	}}, nil
}

// forget deletes the manifests that were pushed, and with them the tag. What they refer to is left to the
// registry's garbage collection. One that lets nobody delete keeps them.
func forget(tag name.Tag, images v1.ImageIndex, options []remote.Option) error {
	digest, err := images.Digest()
	if err != nil {
		return err
	}
	err = remote.Delete(tag.Context().Digest(digest.String()), options...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusMethodNotAllowed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s again: %w", tag.Name(), err)
	}
	return nil
}

// programImages is an image for every architecture, with a program that ends well and does nothing else. The label
// makes it one that no node has yet.
func programImages(label string) (v1.ImageIndex, error) {
	var index v1.ImageIndex = empty.Index
	for arch, program := range programs() {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(program)), nil })
		if err != nil {
			return nil, err
		}
		image, err := mutate.AppendLayers(empty.Image, layer)
		if err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", arch
		config.Config.Entrypoint = []string{"/" + programName}
		config.Config.Labels = map[string]string{TrialLabel: label}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

const programName = "succeed"

// programs are, by architecture, archives with a program that calls exit(0).
func programs() map[string][]byte {
	return map[string][]byte{
		// mov eax, 60; xor edi, edi; syscall
		"amd64": archived(executable(elf.EM_X86_64, []byte{0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05})),
		// mov x8, #93; mov x0, #0; svc #0
		"arm64": archived(executable(elf.EM_AARCH64, []byte{0xa8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4})),
	}
}

// executable is a static ELF file: a header, one segment, and the code behind them.
func executable(machine elf.Machine, code []byte) []byte {
	const (
		base       = 0x400000
		headerSize = 64
		progSize   = 56
		page       = 0x10000 // the largest of arm64
	)
	size := uint64(headerSize + progSize + len(code))
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: base + headerSize + progSize, Phoff: headerSize, Ehsize: headerSize, Phentsize: progSize, Phnum: 1,
	}
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: page,
	}
	var out bytes.Buffer
	for _, part := range []any{header, segment, code} {
		_ = binary.Write(&out, binary.LittleEndian, part) // to memory, of types with a size
	}
	return out.Bytes()
}

// archived is a tarball of the program.
func archived(program []byte) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	_ = w.WriteHeader(&tar.Header{Name: programName, Mode: 0o755, Size: int64(len(program))}) // to memory
	_, _ = w.Write(program)
	_ = w.Close()
	return out.Bytes()
}
