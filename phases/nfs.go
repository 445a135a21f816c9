package phases

import (
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/templates"
)

const nfsExports = "/etc/exports.d/kubewright.exports"

// nfsServer has the host that the user names as the NFS server export its folder to the nodes. What is in the
// folder is the data of users, which a reset leaves.
func nfsServer(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
	if c.Addons.NFSHost != t.Name {
		return nil, nil
	}
	data := templates.NFSExportsData{Path: c.Addons.NFS.Path}
	for _, h := range c.Select(runsPods) {
		data.Clients = append(data.Clients, h.NodeIP)
	}
	exports, err := templates.NFSExports(data)
	if err != nil {
		return nil, err
	}
	return []resource.Resource{
		resource.Dir{Path: c.Addons.NFS.Path},
		resource.Dir{Path: "/etc/exports.d"},
		resource.File{Path: nfsExports, Content: exports},
		resource.Unit{Name: "nfs-server.service", On: []resource.ID{resource.FileID(nfsExports)}},
	}, nil
}
