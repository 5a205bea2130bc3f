// Command kstatus reads Kubernetes objects as JSON from standard input, one after the other, and prints for each a
// line with the status that kstatus, and so every tool that waits with it, computes from it.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type line struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func compute(in io.Reader, out io.Writer) error {
	// This decoder makes whole numbers int64, as the library expects them.
	objects := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(in), 4096)
	lines := json.NewEncoder(out)
	for {
		object := &unstructured.Unstructured{}
		if err := objects.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading an object: %w", err)
		}
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := lines.Encode(line{result.Status.String(), result.Message}); err != nil {
			return err
		}
	}
}

func main() {
	if err := compute(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}
