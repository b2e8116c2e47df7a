package check

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// stack is compose.yaml as Compose loads it, checked against its schema on the way.
func stack(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "deploy/compose.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// gateways are the services that run the image of this repository.
func gateways(t *testing.T, project *types.Project) types.Services {
	t.Helper()
	found := types.Services{}
	for name, service := range project.Services {
		if service.Build != nil && service.Build.Dockerfile == "deploy/Dockerfile" {
			found[name] = service
		}
	}
	if len(found) != 2 {
		t.Fatalf("%d gateways and not 2", len(found))
	}
	return found
}

func TestTheStackListensOnLoopbackAlone(t *testing.T) {
	taken := map[string]string{}
	for name, service := range stack(t).Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open on %q", name, port.Published, port.HostIP)
			}
			if other := taken[port.Published]; other != "" {
				t.Errorf("%s and %s both want port %s", name, other, port.Published)
			}
			taken[port.Published] = name
		}
	}
}

func TestEveryMountedFileIsThere(t *testing.T) {
	for name, service := range stack(t).Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !volume.ReadOnly {
				t.Errorf("%s may write to %s, which is a file of this repository", name, volume.Source)
			}
		}
	}
}

func TestEveryServiceButTheGatewaysSaysWhenItIsHealthy(t *testing.T) {
	project := stack(t)
	gateways := gateways(t, project)
	for name, service := range project.Services {
		_, gateway := gateways[name]
		if healthy := service.HealthCheck != nil && !service.HealthCheck.Disable; healthy == gateway {
			t.Errorf("%s: health check %v; the gateways' image has no program for one, the proxy asks for them", name, healthy)
		}
		for other, need := range service.DependsOn {
			checked := project.Services[other].HealthCheck != nil
			if need.Condition == types.ServiceConditionHealthy && !checked {
				t.Errorf("%s waits for ever: %s has no health check", name, other)
			}
		}
	}
}

func TestEveryImageHasAVersion(t *testing.T) {
	for name, service := range stack(t).Services {
		_, tag, _ := strings.Cut(service.Image, ":")
		if tag == "" || tag == "latest" {
			t.Errorf("%s: %s is another image tomorrow", name, service.Image)
		}
	}
}

func TestTheGatewaysSettingsExist(t *testing.T) {
	known := settings(t)
	for name, service := range gateways(t, stack(t)) {
		for variable := range service.Environment {
			if !known[variable] {
				t.Errorf("%s: there is no setting %s", name, variable)
			}
		}
	}
}

func TestTheGatewayTakesTheStacksSettings(t *testing.T) {
	binary := os.Getenv("TIDEGATE")
	if binary == "" {
		t.Skip("no TIDEGATE names the gateway's binary")
	}
	for _, log := range []string{"kafka", "redis"} {
		for name, service := range gateways(t, stack(t)) {
			command := exec.Command(binary, "check-config")
			for variable, value := range service.Environment {
				command.Env = append(command.Env, variable+"="+*value)
			}
			command.Env = append(command.Env, "TIDEGATE_LOG_KIND="+log)
			if said, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s on %s: %v\n%s", name, log, err, said)
			}
		}
	}
}

func TestTheGatewaysHaveTimeToDrain(t *testing.T) {
	for name, service := range gateways(t, stack(t)) {
		deadline, err := time.ParseDuration(*service.Environment["TIDEGATE_DRAIN_DEADLINE"])
		if err != nil {
			t.Fatal(err)
		}
		if grace := time.Duration(*service.StopGracePeriod); grace <= deadline {
			t.Errorf("%s is killed after %s, within its drain of %s", name, grace, deadline)
		}
		if *service.Environment["TIDEGATE_POD_NAME"] != name {
			t.Errorf("%s is called %s", name, *service.Environment["TIDEGATE_POD_NAME"])
		}
	}
}

func TestTheProxyAndPrometheusKnowEveryGateway(t *testing.T) {
	proxy := read(t, "deploy/compose/haproxy.cfg")
	prometheus := read(t, "deploy/compose/prometheus.yml")
	project := stack(t)
	for name := range gateways(t, project) {
		if !regexp.MustCompile(`(?m)^ +server ` + name + ` ` + name + `:30000$`).MatchString(proxy) {
			t.Errorf("the proxy does not pass on to %s", name)
		}
		if !strings.Contains(prometheus, name+":30001") {
			t.Errorf("Prometheus does not ask %s", name)
		}
	}
	// And no others: a name that Compose does not give is down for ever.
	for _, match := range regexp.MustCompile(`[a-z0-9-]+:300\d\d`).FindAllString(proxy+prometheus, -1) {
		name, _, _ := strings.Cut(match, ":")
		if _, there := project.Services[name]; !there {
			t.Errorf("there is no service %s", match)
		}
	}
}

func TestTheProxyWaitsLongerThanAHeartbeat(t *testing.T) {
	proxy := read(t, "deploy/compose/haproxy.cfg")
	for _, side := range []string{"client", "server"} {
		match := regexp.MustCompile(`(?m)^ +timeout ` + side + ` (\w+)$`).FindStringSubmatch(proxy)
		if match == nil {
			t.Fatalf("the proxy's timeout %s is not set", side)
		}
		patience, err := time.ParseDuration(match[1])
		if err != nil || patience < 30*time.Second {
			t.Errorf("timeout %s %s: a silent stream has a heartbeat every 15 s, jittered (%v)", side, match[1], err)
		}
	}
}
