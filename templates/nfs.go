package templates

import (
	"fmt"
	"net/netip"
)

// NFSExportsData is what an NFS server exports, and to whom.
type NFSExportsData struct {
	Path    string       // of the folder
	Clients []netip.Addr // that may mount it, as root
}

// NFSExports renders a file of /etc/exports.d (exports(5)).
func NFSExports(d NFSExportsData) ([]byte, error) {
	if d.Path == "" || len(d.Clients) == 0 {
		return nil, fmt.Errorf("exports of NFS: there is nothing to export, or nobody to export it to")
	}
	return render("nfs.exports.tmpl", d)
}
