package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// file is what the rules want to know about one Go file.
type file struct {
	path    string // below the module's root, with slashes
	imports []string
	clock   []string // uses of the wall clock, such as "time.Now"
}

func (f file) dir() string { return path.Dir(f.path) }

// test tells a file that is compiled into tests only.
func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// scan reads every Go file of a module, but for other modules inside it and what the go command leaves out.
func scan(root fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			_, otherModule := fs.Stat(root, path.Join(name, "go.mod"))
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor" || otherModule == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := read(name, src)
		files = append(files, f)
		return err
	})
	return files, err
}

func read(name string, src []byte) (file, error) {
	f := file{path: name}
	mode := parser.ImportsOnly
	if below(f.dir(), "domain") {
		mode = 0 // what it calls matters too
	}
	tree, err := parser.ParseFile(token.NewFileSet(), name, src, mode)
	if err != nil {
		return f, err
	}
	timeIs := ""
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return f, fmt.Errorf("%s: %w", name, err)
		}
		f.imports = append(f.imports, imported)
		if imported == "time" {
			timeIs = "time"
			if spec.Name != nil {
				timeIs = spec.Name.Name
			}
		}
	}
	f.clock = clockUses(tree, timeIs)
	return f, nil
}

// clock is everything of package time that looks at the wall clock or waits for it.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

func clockUses(tree *ast.File, timeIs string) (uses []string) {
	if timeIs == "." {
		return []string{`import . "time"`} // its names can't be told from the package's own
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		sel, is := n.(*ast.SelectorExpr)
		if !is {
			return true
		}
		// A name that the file itself declares is resolved (Obj), a package's is not.
		if x, is := sel.X.(*ast.Ident); is && x.Name == timeIs && x.Obj == nil && slices.Contains(clock, sel.Sel.Name) {
			uses = append(uses, "time."+sel.Sel.Name)
		}
		return true
	})
	return uses
}

// below tells that a directory or import path is the given one or inside it.
func below(p, of string) bool { return p == of || strings.HasPrefix(p, of+"/") }

func belowAny(p string, of ...string) bool {
	return slices.ContainsFunc(of, func(o string) bool { return below(p, o) })
}
