package spec

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
)

// artifacts checks that what belongs to the source is given, and nothing that belongs to another.
func (v *validator) artifacts() {
	a := v.spec.Artifacts
	mirror, directory := at("artifacts", "mirror", "url"), at("artifacts", "directory")
	switch {
	case a.Source == "mirror" && a.Mirror.URL == "":
		v.Refuse(mirror, "must be given with source: mirror: the URL below which upstream's files are found")
	case a.Source != "mirror" && a.Mirror.URL != "":
		v.Suggest(at("artifacts", "source"), "mirror", "a mirror is given, but the source is %s", a.Source)
	}
	switch {
	case a.Source == "directory" && a.Directory == "":
		v.Refuse(directory, "must be given with source: directory: the folder that holds upstream's files")
	case a.Source != "directory" && a.Directory != "":
		v.Suggest(at("artifacts", "source"), "directory", "a directory is given, but the source is %s", a.Source)
	}
	if a.Source == "directory" && a.Delivery == "fetch" {
		v.Suggest(at("artifacts", "delivery"), "push", "hosts cannot fetch from a directory on this machine")
	}
	if a.Mirror.URL != "" {
		if why, suggestion := checkURL(a.Mirror.URL); why != "" {
			v.Suggest(mirror, suggestion, "the URL of the mirror %s", why)
		}
	}
}

func (v *validator) registryMirrors() {
	mirrors := v.spec.Artifacts.RegistryMirrors
	for _, registry := range slices.Sorted(maps.Keys(mirrors)) {
		where := at("artifacts", "registryMirrors", registry)
		if why, suggestion := checkRegistry(registry); why != "" {
			v.SuggestKey(where, suggestion, "the registry %s", why)
		}
		if len(mirrors[registry]) == 0 {
			v.Refuse(where, "the list is empty; name a URL or remove the registry")
		}
		for i, mirror := range mirrors[registry] {
			if why, suggestion := checkURL(mirror); why != "" {
				v.Suggest(where.Index(i), suggestion, "the URL %s", why)
			}
		}
	}
}

// checkURL says why a text is no base URL of a mirror, and what was likely meant; both are empty
// for a good one. A password in it is not repeated.
func checkURL(text string) (why, suggestion string) {
	u, err := url.Parse(text)
	switch {
	case !strings.Contains(text, "://") && strings.Contains(text, "@"):
		return "has no scheme", "" // a suggestion would repeat the password
	case !strings.Contains(text, "://"):
		return "has no scheme", "http://" + strings.TrimPrefix(text, "//")
	case err != nil:
		return "is malformed", ""
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with http:// or https://", ""
	case u.User != nil:
		return "has a user or a password, which would be written to every host; remove it", ""
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(text, "?#"):
		return "must end with its path, without ? or #", ""
	case hasUnsafe(text[len(u.Scheme)+len("://"):]):
		return "has a blank, a quote, a backslash or a bracket; write such a character as % and two hexadecimal digits", ""
	case !isHost(u.Hostname()):
		return "names no host", ""
	}
	if _, ok := parsePort(u.Port()); u.Port() != "" && !ok {
		return "has no port from 1 to 65535", ""
	}
	return "", ""
}

// hasUnsafe reports whether a URL, given without its scheme, has a character that would end it, or
// begin something else, in the files and commands it is written into. The brackets of an IPv6
// address are fine.
func hasUnsafe(text string) bool {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if address, after, closed := strings.Cut(rest, "]"); closed {
			text = address + after
		}
	}
	return strings.ContainsAny(text, "\"'`\\{}[]") || strings.ContainsFunc(text, unicode.IsSpace)
}

// httpsPort is the port of a registry that names none.
const httpsPort = 443

// checkRegistry says why a text is not the host, or host:port, of a registry as it stands in the
// name of an image.
func checkRegistry(registry string) (why, suggestion string) {
	bare := registry
	if _, rest, ok := strings.Cut(registry, "://"); ok {
		bare = rest
	}
	bare = bare[strings.LastIndex(bare, "@")+1:] // without a user and a password
	bare, _, _ = strings.Cut(bare, "/")
	if bare != registry {
		return "is named by its host alone, without https://, user and path", bare
	}
	if bare == "index.docker.io" || bare == "registry-1.docker.io" {
		return "of Docker Hub has another name in images", "docker.io"
	}
	host, _, problem := SplitEndpoint(registry, httpsPort)
	if problem != nil || !isHost(host) {
		return "must be host or host:port", ""
	}
	return "", ""
}

func isHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == "" // a zone means something else on every machine
	}
	return len(validation.IsDNS1123Subdomain(strings.ToLower(host))) == 0 && strings.Trim(host, "0123456789.") != ""
}
