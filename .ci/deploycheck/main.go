// Command deploycheck judges docker-compose.yml and the Dockerfile without a Docker engine: with the library that Docker
// Compose itself reads its files with, and with the parser and linter of BuildKit.
//
//	go run . <folder of the project>
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deploycheck <folder of the project>")
		os.Exit(2)
	}
	err := errors.Join(checkCompose(context.Background(), os.Args[1]), checkDockerfile(os.Args[1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("docker-compose.yml and Dockerfile are valid")
}
