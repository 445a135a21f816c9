package main

// haproxy and keepalived are written in C, and their images are Debian's packages under the names
// and tags of upstream's. So the lab runs HAProxy 2.6 for 3.2, and keepalived 2.2 for 2.3: what
// they are given has to be valid in both. Nor is there upstream's entrypoint, which the static pods
// do not use, nor upstream's stop signal: HAProxy is told to end, not to drain.
func (r release) haproxy() Group {
	return Group{
		Name: "haproxy", Version: r.HAProxy,
		Images: []Image{{
			Ref: "docker.io/library/haproxy:" + r.HAProxy + "-alpine", Packages: []string{"haproxy"},
			User: "99:99", Cmd: []string{"haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"},
		}},
	}
}

// keepalived has openssl, as upstream's has, since the script that checks the API server calls it.
func (r release) keepalived() Group {
	return Group{
		Name: "keepalived", Version: r.Keepalived,
		Images: []Image{{
			Ref: "docker.io/osixia/keepalived:" + r.Keepalived, Packages: []string{"keepalived", "openssl"},
			Cmd: []string{"keepalived", "--dont-fork", "--log-console"},
		}},
	}
}
