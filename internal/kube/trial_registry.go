package kube

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
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
	reference := t.in.Registry.Host + "/kubewright-verify:" + t.namespace
	repository, err := remote.NewRepository(reference)
	if err != nil {
		return "", err
	}
	through, err := t.registryTransport()
	if err != nil {
		return "", err
	}
	repository.Client = &auth.Client{Client: &http.Client{Transport: through}}
	if err := persist(ctx, "push "+reference, func(ctx context.Context) error { return push(ctx, repository, images) }); err != nil {
		return "", err
	}
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
		defer cancel()
		err = errors.Join(err, forget(tidy, repository, images))
	}()
	pod := t.pod("registry")
	pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = reference, corev1.PullAlways
	ended, err := t.finish(ctx, pod)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was pushed, and a pod on %s has run it", reference, ended.Spec.NodeName), nil
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

// part is something that a registry keeps.
type part struct {
	ocispec.Descriptor
	data []byte
}

// push pushes the parts of an image, of which the last gets the tag.
func push(ctx context.Context, repository *remote.Repository, parts []part) error {
	for i, p := range parts {
		var err error
		if i == len(parts)-1 {
			err = repository.PushReference(ctx, p.Descriptor, bytes.NewReader(p.data), repository.Reference.Reference)
		} else {
			err = repository.Push(ctx, p.Descriptor, bytes.NewReader(p.data))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the manifests that were pushed, each before those that it names, and with the last of them the
// tag. What they refer to is left to the registry's garbage collection, which keeps every manifest that it has,
// named or not. A registry that lets nobody delete keeps all.
func forget(ctx context.Context, repository *remote.Repository, parts []part) error {
	for _, p := range slices.Backward(parts) {
		if p.MediaType != ocispec.MediaTypeImageIndex && p.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		err := repository.Delete(ctx, p.Descriptor)
		var answer *errcode.ErrorResponse
		if errors.As(err, &answer) && answer.StatusCode == http.StatusMethodNotAllowed {
			return nil
		}
		if err != nil {
			return fmt.Errorf("delete %s of %s again: %w", p.Digest, repository.Reference, err)
		}
	}
	return nil
}

// programImages are the parts of an image for every architecture, with a program that ends well and does nothing
// else, each after those that it names. The label makes it one that no node has yet.
func programImages(label string) ([]part, error) {
	var parts []part
	var bad []error
	add := func(mediaType string, object any) ocispec.Descriptor {
		data, isData := object.([]byte)
		if !isData {
			var err error
			data, err = json.Marshal(object)
			bad = append(bad, err)
		}
		p := part{content.NewDescriptorFromBytes(mediaType, data), data}
		parts = append(parts, p)
		return p.Descriptor
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	programs := programs()
	for _, arch := range slices.Sorted(maps.Keys(programs)) {
		layer := add(ocispec.MediaTypeImageLayer, programs[arch])
		platform := ocispec.Platform{OS: "linux", Architecture: arch}
		config := add(ocispec.MediaTypeImageConfig, ocispec.Image{
			Platform: platform,
			Config:   ocispec.ImageConfig{Entrypoint: []string{"/" + programName}, Labels: map[string]string{TrialLabel: label}},
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
		})
		image := add(ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: index.Versioned, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer},
		})
		image.Platform = &platform
		index.Manifests = append(index.Manifests, image)
	}
	add(ocispec.MediaTypeImageIndex, index)
	return parts, errors.Join(bad...)
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
