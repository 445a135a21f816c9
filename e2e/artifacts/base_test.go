package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBasesAreKeptApart: images on the shared base have one, an image with packages has its own,
// in other files and for other reasons to be made anew.
func TestBasesAreKeptApart(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}, here: "."}
	if _, ok := (Image{Ref: "registry.k8s.io/pause:1"}).base(); ok {
		t.Error("an image without Debian has a base")
	}
	shared, _ := Image{Debian: true}.base()
	other, _ := Image{Ref: "a:1", Packages: []string{"a", "b"}}.base()
	more, _ := Image{Ref: "a:1", Packages: []string{"a", "b", "c"}}.base()
	var got []string
	keys := map[string]bool{}
	for _, d := range []debianBase{shared, other, more} {
		s, err := b.baseStep(d)
		if err != nil {
			t.Fatal(err)
		}
		keys[s.key] = true
		got = append(got, s.name+", "+s.id+", "+d.layerPath()+", "+d.infoPath())
	}
	if diff := cmp.Diff([]string{
		"base bookworm, base-bookworm, build/debian/layer.tar.gz, build/debian/layer.json",
		"base bookworm a-b, base-bookworm-a-b, build/debian-a-b/layer.tar.gz, build/debian-a-b/layer.json",
		"base bookworm a-b-c, base-bookworm-a-b-c, build/debian-a-b-c/layer.tar.gz, build/debian-a-b-c/layer.json",
	}, got); diff != "" {
		t.Error(diff)
	}
	if len(keys) != 3 {
		t.Error("other packages are no reason to make a base anew")
	}
	const library = "usr/lib/x86_64-linux-gnu/libperl.so.5.36"
	if !matches(shared.leftOut(), library) || matches(other.leftOut(), library) || !matches(other.leftOut(), "usr/bin/perl5.36") {
		t.Error("the library of Perl is to be in bases of their own, and only it")
	}
}

// TestGroupsOfPackages need no compiler, and mmdebstrap until their bases are made.
func TestGroupsOfPackages(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}, here: "."}
	g := releases()[0].keepalived()
	g.Needs = []string{"no-such-compiler"} // of binaries, which it does not have
	got, err := b.needs(g)
	if err != nil || !slices.Equal(got, []string{"mmdebstrap"}) {
		t.Errorf("needs %v, %v", got, err)
	}
	d, _ := g.Images[0].base()
	s, err := b.baseStep(d)
	if err != nil {
		t.Fatal(err)
	}
	write(t, b.dir, "state/"+s.id+".json", `{"Key": "`+s.key+`"}`)
	if got, err := b.needs(g); err != nil || len(got) > 0 {
		t.Errorf("once made, it still needs %v, %v", got, err)
	}
	if g.nested() || !strings.HasSuffix(g.Images[0].Ref, ":"+g.Version) {
		t.Errorf("%+v", g)
	}
}
