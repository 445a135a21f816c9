package check

import "kubewright/internal/facts"

func nfsTable() map[string][]faulty {
	has := func(commands ...string) func(*facts.Facts) {
		return func(f *facts.Facts) {
			all := map[string]bool{}
			for name, there := range f.Commands {
				all[name] = there
			}
			for _, name := range commands {
				all[name] = true
			}
			f.Commands = all
		}
	}
	return map[string][]faulty{"nfs": {
		{"not needed", func(w World) World { return w }, nil},
		{"clients are missing", func(w World) World {
			w.NFS = true
			return w.on("cp1", has("mount.nfs")).on("worker2", func(f *facts.Facts) { f.OSID, f.OSLike = "rocky", []string{"rhel"} })
		}, []string{
			"refuse worker1: the kubelet cannot mount volumes of NFS: mount.nfs is missing; apt-get install nfs-common",
			"refuse worker2: the kubelet cannot mount volumes of NFS: mount.nfs is missing; dnf install nfs-utils",
		}},
		{"the server is missing", func(w World) World {
			w.NFS, w.NFSHost = true, "worker1"
			return w.on("cp1", has("mount.nfs")).on("worker1", has("mount.nfs")).on("worker2", has("mount.nfs"))
		}, []string{"refuse worker1: the host is to be an NFS server: rpc.nfsd is missing; apt-get install nfs-kernel-server"}},
		{"all is there", func(w World) World {
			w.NFS, w.NFSHost = true, "worker1"
			return w.on("cp1", has("mount.nfs")).on("worker1", has("mount.nfs", "rpc.nfsd")).on("worker2", has("mount.nfs"))
		}, nil},
		{"a member of etcd alone mounts nothing", func(w World) World {
			w.NFS = true
			w.Hosts[0].ControlPlane = false
			return w.on("worker1", has("mount.nfs")).on("worker2", has("mount.nfs"))
		}, nil},
	}}
}
