// Says what kstatus makes of objects, in the form in which Flux and Helm use it: for each YAML file one line with the
// file, the status and the message, separated by tabs.
package main

import (
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func main() {
	for _, file := range os.Args[1:] {
		if err := judge(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

func judge(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// By way of JSON, whose reader knows whole numbers.
	converted, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	object := unstructured.Unstructured{}
	if err := object.UnmarshalJSON(converted); err != nil {
		return err
	}
	result, err := status.Compute(&object)
	if err != nil {
		return err
	}
	fmt.Printf("%s\t%s\t%s\n", file, result.Status, result.Message)
	return nil
}
