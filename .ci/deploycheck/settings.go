package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
)

const databaseURL = "ACCORD_DATABASE_URL"

var accordName = regexp.MustCompile(`\bACCORD_[A-Z0-9_]+`)

// checkSettings holds the deployment files against the program: what they name exists, every command gets what it needs,
// and the example's vendors are the sandbox.
func checkSettings(ctx context.Context, dir string, project *types.Project) error {
	problems := []error{checkNames(dir)}
	scratch, err := os.MkdirTemp("", "deploycheck-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	accord := filepath.Join(scratch, "accord")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", accord, "./app")
	build.Dir, build.Stderr = dir, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the program: %w", err)
	}
	for _, name := range []string{"migrate", "api", "worker"} {
		if err := checkCommand(ctx, accord, project.Services[name]); err != nil {
			problems = append(problems, fmt.Errorf("docker-compose.yml: %s: %w", name, err))
		}
	}
	return errors.Join(append(problems, checkExample(ctx, dir, accord))...)
}

// checkNames refuses a setting that the program does not have: it would be ignored in silence.
func checkNames(dir string) error {
	known := map[string]bool{}
	sources, err := filepath.Glob(filepath.Join(dir, "app", "config", "*.go"))
	if err != nil {
		return err
	}
	for _, source := range sources {
		if err := knownSettings(source, known); err != nil {
			return err
		}
	}
	if len(known) == 0 {
		return errors.New("app/config: no setting found")
	}
	var problems []error
	for _, file := range []string{"docker-compose.yml", ".env.example", "Dockerfile"} {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		found := accordName.FindAllString(string(content), -1)
		slices.Sort(found)
		for _, name := range slices.Compact(found) {
			if !known[name] {
				problems = append(problems, fmt.Errorf("%s: there is no setting %s", file, name))
			}
		}
	}
	return errors.Join(problems...)
}

// knownSettings reads the names off the tags of the configuration's fields.
func knownSettings(path string, known map[string]bool) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if field, is := n.(*ast.Field); is && field.Tag != nil {
			if tag, err := strconv.Unquote(field.Tag.Value); err == nil {
				name, _, _ := strings.Cut(reflect.StructTag(tag).Get("env"), ",")
				known[name] = true
			}
		}
		return true
	})
	delete(known, "")
	return nil
}

// checkCommand runs a service's command under the service's own settings, all but the database's. The program reports
// every problem at once before it connects to anything, so the database's must be all that it misses.
func checkCommand(ctx context.Context, accord string, service types.ServiceConfig) error {
	settings := resolved(service)
	if settings[databaseURL] == "" {
		return fmt.Errorf("%s is not given", databaseURL)
	}
	delete(settings, databaseURL)
	said, err := run(ctx, accord, settings, service.Command...)
	if want := "accord: " + databaseURL + " must be set"; err == nil || said != want {
		return fmt.Errorf("want it to miss %s alone, got %v: %s", databaseURL, err, said)
	}
	return nil
}

// checkExample compares the example's vendors with what the sandbox says of itself. What is empty there is a key, and is
// to be filled in.
func checkExample(ctx context.Context, dir, accord string) error {
	file, err := os.Open(filepath.Join(dir, ".env.example"))
	if err != nil {
		return err
	}
	defer file.Close()
	example, err := dotenv.Parse(file)
	if err != nil {
		return fmt.Errorf(".env.example: %w", err)
	}
	said, err := run(ctx, accord, map[string]string{"ACCORD_SANDBOX_ADDR": "sandbox:8090"}, "sandbox", "env")
	if err != nil {
		return fmt.Errorf("accord sandbox env: %w: %s", err, said)
	}
	sandbox, err := dotenv.Parse(strings.NewReader(said))
	if err != nil || len(sandbox) == 0 {
		return fmt.Errorf("accord sandbox env can't be read as an .env file (%v): %s", err, said)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(sandbox)) {
		value, named := example[name]
		if !named || (value == "") != secret(name) || value != "" && value != sandbox[name] {
			problems = append(problems, fmt.Errorf(".env.example: %s=%s is not the sandbox's, which has %s", name, value, sandbox[name]))
		}
	}
	return errors.Join(problems...)
}

func resolved(service types.ServiceConfig) map[string]string {
	settings := map[string]string{}
	for name, value := range service.Environment {
		if value != nil { // a name alone is passed on only where it is set
			settings[name] = *value
		}
	}
	return settings
}

// run answers what the program printed, with nothing in its environment but the settings.
func run(ctx context.Context, accord string, settings map[string]string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, accord, args...)
	command.Env = []string{}
	for name, value := range settings {
		command.Env = append(command.Env, name+"="+value)
	}
	out, err := command.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
