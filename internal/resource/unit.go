package resource

import "kubewright/internal/sh"

// Unit is a systemd service that is enabled and active, and runs with its current inputs:
// its unit file, configuration and binaries. A restart is due when the digest of the
// inputs differs from the one recorded on the host at its last start, so an interrupted
// run cannot lose it.
type Unit struct {
	Name string
	// On lists the resources whose content the running process depends on.
	On []ID
}

// UnitID is the ID of a unit by name.
func UnitID(name string) ID { return ID("unit:" + name) }

// ID implements Resource.
func (u Unit) ID() ID { return UnitID(u.Name) }

// Inputs implements Dependent.
func (u Unit) Inputs() []ID { return u.On }

// Probes implements Resource.
func (u Unit) Probes() []sh.Probe { return []sh.Probe{sh.UnitProbe{Name: u.Name}} }

// Diff implements Resource.
func (u Unit) Diff(v View) (Change, error) {
	got, err := v.Observed.Unit(u.Name)
	if err != nil {
		return Change{}, err
	}
	digest, err := inputsDigest(v, u.On)
	if err != nil {
		return Change{}, err
	}
	c := Change{ID: u.ID(), Digest: digest, Create: got.Load == "not-found"}
	c.differ("active", got.Active, "active")
	c.differ("enabled", got.Enabled, "enabled")
	c.differ("inputs", fingerprint(got.Started), fingerprint(digest))
	rewritten := false
	for _, id := range u.On {
		if v.Rewritten(id) {
			// What the process read may be the drifted content, whatever the digest says.
			c.Fields = append(c.Fields, Field{Name: "restart", New: "because " + string(id) + " changes"})
			rewritten = true
		}
	}
	if c.Empty() {
		return c, nil
	}
	if rewritten || got.NeedDaemonReload || got.Load != "loaded" {
		c.Steps = append(c.Steps, sh.DaemonReload{})
	}
	if got.Active == "active" && got.Started == digest && !rewritten {
		c.Steps = append(c.Steps, sh.EnableUnit{Name: u.Name})
		return c, nil
	}
	c.Restarts = u.Name
	c.Steps = append(c.Steps, sh.StartUnit{Name: u.Name, Digest: digest})
	return c, nil
}
