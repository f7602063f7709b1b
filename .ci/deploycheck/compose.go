package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// checkCompose loads docker-compose.yml with the example's settings and with each required one left out.
func checkCompose(ctx context.Context, dir string) error {
	settings, err := readSettings(filepath.Join(dir, ".env.example"))
	if err != nil {
		return err
	}
	project, err := load(ctx, dir, settings)
	if err != nil {
		return fmt.Errorf("docker-compose.yml with the settings of .env.example: %w", err)
	}
	problems := []error{checkServices(project), checkSettings(ctx, dir, project)}

	// Without a single setting it must refuse, naming a variable: nothing secret may have a default.
	if _, err := load(ctx, dir, nil); err == nil || !strings.Contains(err.Error(), "required variable") {
		problems = append(problems, fmt.Errorf("docker-compose.yml without any setting: want it refused for a required variable, got %v", err))
	}
	for _, name := range settings {
		key, _, _ := strings.Cut(name, "=")
		if !secret(key) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(settings), func(s string) bool { return s == name })
		if _, err := load(ctx, dir, rest); err == nil {
			problems = append(problems, fmt.Errorf("docker-compose.yml starts without %s", key))
		}
	}
	return errors.Join(problems...)
}

func secret(key string) bool {
	for _, word := range []string{"PASSWORD", "SECRET", "_KEY", "REQUEST_INFORMATION"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

func load(ctx context.Context, dir string, settings []string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(dir, "docker-compose.yml")},
		cli.WithWorkingDirectory(dir), cli.WithName("accord"), cli.WithEnv(settings), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

// checkServices holds what the compose file promises beyond being valid.
func checkServices(project *types.Project) error {
	var problems []error
	complain := func(format string, values ...any) {
		problems = append(problems, fmt.Errorf("docker-compose.yml: "+format, values...))
	}
	for _, name := range []string{"postgres", "migrate", "temporal", "temporal-ui", "api", "worker", "sandbox"} {
		if _, ok := project.Services[name]; !ok {
			complain("the service %s is missing", name)
		}
	}
	for name, service := range project.Services {
		if service.Build == nil && !pinned(service.Image) {
			complain("%s: the image %q has no version", name, service.Image)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				complain("%s: port %s is published beyond this machine", name, port.Published)
			}
		}
		if service.Privileged {
			complain("%s is privileged", name)
		}
	}
	for _, name := range []string{"api", "worker"} {
		service := project.Services[name]
		if service.ContainerName != "" || len(service.Ports) > 0 {
			complain("%s can't be scaled: it has a name or a port of its own", name)
		}
		if condition := service.DependsOn["migrate"].Condition; condition != types.ServiceConditionCompletedSuccessfully {
			complain("%s does not wait for the migrations (%q)", name, condition)
		}
	}
	if profiles := project.Services["sandbox"].Profiles; !slices.Equal(profiles, []string{"sandbox"}) {
		complain("the sandbox is not behind its profile: %v", profiles)
	}
	return errors.Join(problems...)
}

// pinned tells whether an image names a version.
func pinned(image string) bool {
	_, tag, found := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return found && tag != "latest"
}

// example fills in a setting; some have a form.
func example(name string) string {
	switch name {
	case "ACCORD_LEDGER_KEYS":
		return "example:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	case "ACCORD_CHECKPOINT_KEY":
		return checkpointKey("example", make([]byte, ed25519.SeedSize))
	}
	return "example"
}

// checkpointKey spells a signing key as notes do: its name, a hash that tells it from others of that name, and what it is.
func checkpointKey(name string, seed []byte) string {
	const algorithm = 1 // ed25519
	public := ed25519.NewKeyFromSeed(seed)[ed25519.SeedSize:]
	sum := sha256.Sum256(append([]byte(name+"\n"+string(rune(algorithm))), public...))
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(append([]byte{algorithm}, seed...)))
}

// readSettings reads NAME=value lines.
func readSettings(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var settings []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, empty := strings.CutSuffix(line, "="); empty { // to be filled in by whoever deploys
			line += example(name)
		}
		settings = append(settings, line)
	}
	return settings, lines.Err()
}
