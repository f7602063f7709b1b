package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// checkDockerfile parses the Dockerfile with BuildKit's rules and holds what it promises: versions, a user who is not
// root, and commands that get their signals.
func checkDockerfile(dir string) error {
	content, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		return err
	}
	tree, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("Dockerfile: %w", err)
	}
	var problems []error
	complain := func(format string, values ...any) {
		problems = append(problems, fmt.Errorf("Dockerfile: "+format, values...))
	}
	for _, warning := range tree.Warnings {
		complain("%s", warning.Short)
	}
	rules := linter.New(&linter.Config{Warn: func(rule, _, _, text string, _ []parser.Range) {
		complain("%s: %s", rule, text)
	}})
	stages, _, err := instructions.Parse(tree.AST, rules)
	if err != nil {
		return errors.Join(append(problems, fmt.Errorf("Dockerfile: %w", err))...)
	}
	names := map[string]bool{}
	for i, stage := range stages {
		if !names[stage.BaseName] && stage.BaseName != "scratch" && !pinned(stage.BaseName) {
			complain("the base %s has no version", stage.BaseName)
		}
		for _, command := range stage.Commands {
			if from, ok := command.(*instructions.CopyCommand); ok && from.From != "" && !names[from.From] {
				complain("COPY --from=%s: there is no such stage above", from.From)
			}
		}
		names[stage.Name], names[strconv.Itoa(i)] = true, true
	}
	checkLastStage(stages[len(stages)-1], complain)
	return errors.Join(problems...)
}

func checkLastStage(stage instructions.Stage, complain func(string, ...any)) {
	user := ""
	for _, command := range stage.Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User
		case *instructions.EntrypointCommand:
			if command.PrependShell {
				complain("ENTRYPOINT goes through a shell, which swallows signals")
			}
		case *instructions.CmdCommand:
			if command.PrependShell {
				complain("CMD goes through a shell, which swallows signals")
			}
		}
	}
	if user == "" || user == "root" || user == "0" {
		complain("the image runs as root")
	}
}
