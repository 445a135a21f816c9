package phases

import (
	"fmt"
	"reflect"
	"sync"
)

// remember returns a function that gives what render does, once for the same data: most hosts of a cluster get
// the same files, and rendering and checking one takes longer than asking a host for it. What it returns is
// shared, and must not be changed.
func remember[D, R any](render func(D) (R, error)) func(D) (R, error) {
	type result struct {
		value R
		err   error
	}
	var mu sync.Mutex
	known := map[any]result{}
	return func(data D) (R, error) {
		key := any(data)
		if !reflect.ValueOf(key).Comparable() {
			// Numbers of an any look alike whatever their type is; they are alike in what is rendered, too. What
			// would hide its value, or have an address for one, is in none of it: see the test.
			key = fmt.Sprintf("%#v", data)
		}
		mu.Lock()
		defer mu.Unlock()
		r, ok := known[key]
		if !ok {
			r.value, r.err = render(data)
			known[key] = r
		}
		return r.value, r.err
	}
}
