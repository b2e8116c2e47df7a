package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	kind "sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// object is any resource.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Spec map[string]any
}

// strimzi gives all resources of deploy/strimzi, by kind and name.
func strimzi(t *testing.T) map[string]object {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/strimzi/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no resources (%v)", err)
	}
	found := map[string]object{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := yaml.NewDecoder(bytes.NewReader(content))
		for {
			var one object
			err := documents.Decode(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			found[one.Kind+"/"+one.Metadata.Name] = one
		}
	}
	return found
}

func TestKindTakesItsCluster(t *testing.T) {
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "deploy/kind/cluster.yaml")))
	decoder.KnownFields(true)
	var cluster kind.Cluster
	if err := decoder.Decode(&cluster); err != nil {
		t.Fatal(err)
	}
	if cluster.Kind != "Cluster" || cluster.APIVersion != "kind.x-k8s.io/v1alpha4" {
		t.Errorf("it is a %s of %s", cluster.Kind, cluster.APIVersion)
	}
	for _, node := range cluster.Nodes {
		for _, port := range node.ExtraPortMappings {
			if port.ListenAddress != "127.0.0.1" {
				t.Errorf("port %d is open on %q", port.HostPort, port.ListenAddress)
			}
		}
	}
}

func TestTheTopicsAreAsTheGatewayMakesThem(t *testing.T) {
	partitions := map[string]int{
		"tidegate.events":       12,
		"tidegate.broadcast":    1,
		"tidegate.dead-letters": 1,
		"tidegate.deliveries":   1,
	}
	for name, topic := range strimzi(t) {
		if topic.Kind != "KafkaTopic" {
			continue
		}
		called := fmt.Sprint(topic.Spec["topicName"])
		want, known := partitions[called]
		if !known {
			t.Errorf("%s: the gateway has no topic %s", name, called)
		}
		delete(partitions, called)
		if topic.Spec["partitions"] != want {
			t.Errorf("%s has %v partitions and not %d", called, topic.Spec["partitions"], want)
		}
		config, _ := topic.Spec["config"].(map[string]any)
		for setting, value := range map[string]any{
			"message.timestamp.type": "LogAppendTime",
			"cleanup.policy":         "delete",
			"min.insync.replicas":    2,
		} {
			if config[setting] != value {
				t.Errorf("%s: %s is %v and not %v", called, setting, config[setting], value)
			}
		}
		if _, kept := config["retention.ms"]; !kept {
			t.Errorf("%s does not say how long it keeps a record", called)
		}
		// One replica less than there are, or no broker could be restarted.
		if topic.Spec["replicas"] != 3 {
			t.Errorf("%s has %v replicas", called, topic.Spec["replicas"])
		}
	}
	for missing := range partitions {
		t.Errorf("topic %s is missing", missing)
	}
}

func TestAllOfStrimzisResourcesAreOfOneCluster(t *testing.T) {
	resources := strimzi(t)
	for name, one := range resources {
		if one.APIVersion != "kafka.strimzi.io/v1" {
			t.Errorf("%s is of %s", name, one.APIVersion)
		}
		if one.Kind == "Kafka" {
			continue
		}
		cluster := one.Metadata.Labels["strimzi.io/cluster"]
		if _, there := resources["Kafka/"+cluster]; !there {
			t.Errorf("%s is of the cluster %q, which is not here", name, cluster)
		}
	}
}
