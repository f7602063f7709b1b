package archtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const module = "accord"

// Where what may be imported. "std" is the standard library but for what hidden names, "own" is inside the module.
type layer struct {
	own    []string // directories of the module
	hidden []string // of the standard library
	others []string // other modules; "*" for any
}

var (
	servers = []string{"net/http", "database/sql"}
	effects = []string{"net", "database/sql", "os", "log", "math/rand", "crypto/rand", "syscall", "os/exec", "io/ioutil", "embed"}

	// forTests are packages that a program never holds.
	forTests = []string{"testing", "github.com/stretchr/testify", "pgregory.net/rapid", "go.uber.org/goleak", "github.com/golang/mock"}
	// helpers are packages of the module that serve tests. Each may use what tests use.
	helpers = []string{"adapters/devstack/stacktest", "ports/portstest", "ports/mocks"}
	// stack is the one adapter that every other's tests may use: it brings up what they are tested against.
	stack = "adapters/devstack"

	// frameworks have one home each.
	frameworks = map[string]string{
		"github.com/gin-gonic":   "adapters/http",
		"github.com/gin-contrib": "adapters/http",
		"gorm.io":                "adapters/postgres",
		// What disturbs connections on purpose is nowhere near those that are to be relied upon.
		"github.com/Shopify/toxiproxy": "app/chaostest",
		// What draws and what reads profiles is for who measures, and not in the program that is measured.
		"gonum.org/v1/plot":       "app/loadtest",
		"github.com/google/pprof": "app/loadtest",
	}
)

// layerOf is what a directory may import. ok is false for a place that has no rule.
func layerOf(dir string) (l layer, ok bool) {
	switch {
	case below(dir, "domain"):
		return layer{own: []string{"domain"}, hidden: effects}, true
	case belowAny(dir, "ports/mocks"):
		return layer{own: []string{"domain", "ports"}, hidden: servers}, true
	case belowAny(dir, "ports/portstest"):
		return layer{own: []string{"domain", "ports"}}, true
	case dir == "ports":
		return layer{own: []string{"domain"}, hidden: servers}, true
	case below(dir, "workflows"):
		return layer{own: []string{"domain", "ports", "workflows"}, hidden: servers, others: []string{"go.temporal.io/sdk", "go.temporal.io/api"}}, true
	case below(dir, "app/chaostest/checker"): // it must not know what it judges
		return layer{own: []string{"app/chaostest/checker"}}, true
	case compositionRoot(dir):
		return layer{own: []string{"domain", "ports", "workflows", "adapters", "migrations", "app"}, others: []string{"*"}}, true
	case below(dir, "app"):
		useCase := strings.Join(strings.Split(dir, "/")[:2], "/")
		return layer{own: []string{"domain", "ports", useCase}, hidden: servers}, true
	case below(dir, "adapters/postgres"):
		return layer{own: []string{"domain", "ports", "workflows", "migrations", "adapters/postgres"}, others: []string{"*"}}, true
	case below(dir, "adapters"):
		return layer{own: []string{"domain", "ports", "workflows", adapterOf(dir)}, others: []string{"*"}}, true
	case below(dir, "migrations"):
		return layer{own: []string{"migrations"}}, true
	}
	return layer{}, false
}

// compositionRoot is where everything is put together, for the program, and for the tests and benchmarks of the whole.
func compositionRoot(dir string) bool {
	if dir == "app" {
		return true
	}
	parts := strings.Split(dir, "/")
	return parts[0] == "app" && (parts[1] == "compose" || parts[1] == "config" || parts[1] == "bench" || strings.HasSuffix(parts[1], "test"))
}

// adapterOf is the adapter that a directory belongs to: one per vendor where there is a folder per target.
func adapterOf(dir string) string {
	parts := strings.Split(dir, "/")
	n := 2
	if len(parts) > 1 && slices.Contains([]string{"crm", "push", "cmp", "engagement"}, parts[1]) {
		n = 3
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}

// violations names every import that points the wrong way. Having seen nothing is an error, not a clean bill.
func violations(files []file) ([]string, error) {
	if len(files) == 0 {
		return nil, errors.New("no Go file seen")
	}
	var out []string
	for _, f := range files {
		complain := func(format string, args ...any) { out = append(out, f.path+": "+fmt.Sprintf(format, args...)) }
		l, ok := layerOf(f.dir())
		if !ok {
			complain("no rule says what %s may import", f.dir())
			continue
		}
		for _, imported := range f.imports {
			if why := f.refuses(imported, l); why != "" {
				complain("imports %s: %s", imported, why)
			}
		}
		if below(f.dir(), "domain") && !f.test() {
			for _, use := range f.clock {
				complain("%s: the domain is told the time", use)
			}
		}
	}
	return out, nil
}

// refuses says why the file may not import a package, empty when it may.
func (f file) refuses(imported string, l layer) string {
	for framework, home := range frameworks {
		compared := f.test() && below(f.dir(), "app/bench") // a benchmark holds us against the bare framework
		if below(imported, framework) && !below(f.dir(), home) && !compared {
			return "only " + home + " may know it"
		}
	}
	own, isOwn := strings.CutPrefix(imported, module+"/")
	serving := f.test() || belowAny(f.dir(), helpers...)
	if belowAny(imported, forTests...) || isOwn && belowAny(own, helpers...) && !below(f.dir(), own) {
		switch {
		case !serving:
			return "it serves tests and must not be in a program"
		case isOwn && below(f.dir(), "domain"):
			return "the domain's tests need nothing but the domain"
		}
		return ""
	}
	if f.test() && below(f.dir(), "adapters") && below(own, stack) {
		return ""
	}
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case imported == module || isOwn:
		if !belowAny(own, l.own...) {
			return fmt.Sprintf("%s may import of the module only %s", f.dir(), strings.Join(l.own, ", "))
		}
	case strings.Contains(first, "."):
		if !slices.Contains(l.others, "*") && !belowAny(imported, l.others...) {
			return f.dir() + " may not know this module"
		}
	case imported == "C" || imported == "unsafe":
		return "no C, nothing unsafe"
	case !f.test() && hides(l.hidden, imported):
		return f.dir() + " does no I/O and leaves nothing to chance"
	}
	return ""
}

func hides(hidden []string, imported string) bool {
	return belowAny(imported, hidden...) && !slices.Contains([]string{"net/url", "net/netip", "net/mail"}, imported) // these only parse
}
