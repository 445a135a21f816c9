package resource

import (
	"fmt"
	"strings"

	"kubewright/internal/sh"
)

// Sysctl is the live value of a kernel parameter. What makes it last over a reboot is a
// File in /etc/sysctl.d; a later file of another tool may still win at boot, which the
// live value shows as drift.
type Sysctl struct{ Key, Value string }

// ID implements Resource.
func (s Sysctl) ID() ID { return ID("sysctl:" + s.Key) }

// Probes implements Resource.
func (s Sysctl) Probes() []sh.Probe { return []sh.Probe{sh.SysctlProbe{Key: s.Key}} }

// Diff implements Resource. A parameter that the kernel does not have is wanted, not an
// error: loading a module earlier in the same pass may bring it.
func (s Sysctl) Diff(v View) (Change, error) {
	got, ok := v.Observed.Sysctls[s.Key]
	c := Change{ID: s.ID(), Create: !ok, Digest: DigestOf([]byte(s.Value))}
	c.differ("value", got, s.Value)
	if !c.Empty() {
		c.Steps = []sh.Step{sh.SetSysctl{Key: s.Key, Value: s.Value}}
	}
	return c, nil
}

// KernelModule is a module that is loaded or built in.
type KernelModule struct{ Name string }

// ID implements Resource.
func (m KernelModule) ID() ID { return ID("module:" + m.Name) }

// Probes implements Resource.
func (m KernelModule) Probes() []sh.Probe { return []sh.Probe{sh.ModuleProbe{Name: m.Name}} }

// Diff implements Resource.
func (m KernelModule) Diff(v View) (Change, error) {
	loaded, ok := v.Observed.Modules[m.Name]
	if !ok {
		return Change{}, fmt.Errorf("%w: nothing said of module %s", sh.ErrIncomplete, m.Name)
	}
	c := Change{ID: m.ID(), Create: !loaded, Digest: DigestOf([]byte(m.Name))}
	if !loaded {
		c.differ("loaded", "no", "yes")
		c.Steps = []sh.Step{sh.LoadModule{Name: m.Name}}
	}
	return c, nil
}

// SwapOff means that no swap area is active. That none comes back at boot is a Link that
// masks swap.target, which covers fstab, generators and zram without editing any of them.
type SwapOff struct{}

// ID implements Resource.
func (SwapOff) ID() ID { return "swap:off" }

// Probes implements Resource.
func (SwapOff) Probes() []sh.Probe { return []sh.Probe{sh.SwapProbe{}} }

// Diff implements Resource.
func (s SwapOff) Diff(v View) (Change, error) {
	c := Change{ID: s.ID(), Digest: DigestOf(nil)}
	c.differ("active", strings.Join(v.Observed.Swaps, " "), "")
	if !c.Empty() {
		c.Steps = []sh.Step{sh.SwapOff{}}
	}
	return c, nil
}
