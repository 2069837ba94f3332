package admission

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

// podGenerator makes random pods of the fields of a schema, and of what is easily confused with what a webhook injects.
// A pod depends on the seed and its index alone.
type podGenerator struct {
	seed  uint64
	parts []part
	// token is the volume that the subject injects, directory where it is mounted; empty if it injects none.
	token, directory string
}

// part is what a field needs of a pod, taken apart, so that pods can be made of several.
type part struct {
	container object // what the first container or init container needs
	in        string // which of containerLists it is of; empty if it is not
	volumes   list
	rest      object
	// alone names what the pod, or the container, can have of one part only.
	alone string
	// windows parts exclude most of the others.
	windows bool
}

const (
	mostContainers = 6 // few in most pods
	mostFields     = 8
)

func newPodGenerator(fields []field, seed uint64, token, directory string) *podGenerator {
	g := &podGenerator{seed: seed, token: token, directory: directory}
	for _, f := range fields {
		if _, ok := notSettableBecause(f); !ok {
			g.parts = append(g.parts, partOf(f))
		}
	}
	return g
}

func partOf(f field) part {
	pod := podWith(f, object{})
	spec := child(pod, "spec")
	p := part{rest: pod, alone: alone(f)}
	if len(f.steps) > 2 && (f.steps[1].name == "containers" || f.steps[1].name == "initContainers") {
		p.in = f.steps[1].name
		for c := range items(spec, p.in) {
			p.container = c
			delete(c, "name") // the generator gives names
		}
	}
	p.volumes, _ = spec["volumes"].(list)
	p.windows = child(spec, "os")["name"] == "windows"
	for _, key := range append([]string{"volumes"}, containerLists...) {
		delete(spec, key)
	}
	return p
}

// alone is the list, or the object with alternatives, that the field is in. Two fields of it would have to be made to fit each other.
func alone(f field) string {
	start := 1
	if len(f.steps) > 2 && f.steps[1].list {
		start = 2
	}
	for _, s := range f.steps[min(start, len(f.steps)-1):] {
		if s.list || alternatives[s.name] {
			return s.path
		}
		for r := range recipesFor(s.path) {
			if len(r.oneOf) > 0 {
				return s.path
			}
		}
	}
	return f.path
}

// alternatives are properties whose own ones exclude each other, and which have no recipe.
var alternatives = map[string]bool{"postStart": true, "preStop": true, "seccompProfile": true, "appArmorProfile": true}

// pod is the pod of that index.
func (g *podGenerator) pod(index int) object {
	r := rand.New(rand.NewPCG(g.seed, uint64(index)))
	d := &draft{Rand: r, pod: object{}, taken: map[string]bool{}}
	d.addContainers()
	if len(g.parts) > 0 {
		for range r.IntN(mostFields + 1) {
			d.add(g.parts[r.IntN(len(g.parts))])
		}
	}
	base := fieldsBase()
	if d.chance(4) {
		delete(child(base, "metadata"), "name")
		base["metadata"].(object)["generateName"] = "pod-"
	}
	if d.chance(4) { // then the pod has a token of its own, at the default place
		delete(child(base, "spec"), "automountServiceAccountToken")
	}
	delete(child(base, "spec"), "containers")
	merge(d.pod, base)
	d.finishContainers()
	d.declareVariables()
	d.mountNear(g.token, g.directory)
	d.annotate()
	return d.pod
}

// draft is a pod in the making.
type draft struct {
	*rand.Rand
	pod        object
	containers []draftContainer
	volumes    list
	taken      map[string]bool
	windows    bool
}

type draftContainer struct {
	object
	in string
}

func (d *draft) chance(oneIn int) bool { return d.IntN(oneIn) == 0 }

// confusable are names of which many begin, end or continue others.
var confusable = []string{
	"app", "ap", "a", "app-1", "app-10", "app1", "my-app", "app-app", "app-init", "init-app", "init", "azwi-prox", "azwi-proxy-2", "my-azwi-proxy", "proxy",
}

func (d *draft) addContainers() {
	names := d.Perm(len(confusable))
	for i := range 1 + min(d.IntN(mostContainers), d.IntN(mostContainers)) {
		in := "containers"
		if i > 0 && d.chance(3) {
			in = "initContainers"
		}
		d.containers = append(d.containers, draftContainer{object{"name": confusable[names[i]]}, in})
	}
}

// add adds a part, unless it does not fit what is there.
func (d *draft) add(p part) {
	if d.windows || p.windows && len(d.taken) > 0 {
		return
	}
	var into object
	where := ""
	if p.in != "" {
		c := d.containers[d.IntN(len(d.containers))]
		if c.in != p.in {
			return
		}
		into, where = c.object, name(c.object)
	}
	// Each part with volumes has them to itself.
	if key := where + " " + p.alone; len(p.volumes) == 0 || where != "" {
		if d.taken[key] {
			return
		}
		d.taken[key] = true
	}
	d.windows = p.windows
	own := fmt.Sprintf("%s-%d", fieldsVolume, len(d.volumes))
	if into != nil {
		merge(into, renamed(p.container, own).(object))
	}
	for _, v := range p.volumes {
		d.volumes = append(d.volumes, renamed(v, own))
	}
	merge(d.pod, p.rest)
}

// renamed is a copy in which what refers to the recipes' volume refers to another.
func renamed(value any, volume string) any {
	switch value := value.(type) {
	case object:
		c := make(object, len(value))
		for k, v := range value {
			c[k] = renamed(v, volume)
		}
		return c
	case list:
		c := make(list, len(value))
		for i, v := range value {
			c[i] = renamed(v, volume)
		}
		return c
	case string:
		if value == fieldsVolume {
			return volume
		}
	}
	return value
}

// finishContainers puts containers and volumes into the pod.
func (d *draft) finishContainers() {
	spec := child(d.pod, "spec")
	for _, c := range d.containers {
		merge(c.object, object{"image": image})
		all, _ := spec[c.in].(list)
		spec[c.in] = append(all, c.object)
	}
}

// variables that the user may declare as well, and such as only look like them.
var variableNames = []string{
	suites.ClientIDVariable, suites.TenantIDVariable, suites.TokenFileVariable, suites.AuthorityHostVariable,
	"azure_client_id", "Azure_Tenant_Id", "AZURE_CLIENT", "AZURE_CLIENT_ID_2", "MY_AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOSTS",
}

// declareVariables gives containers variables of the user's own.
func (d *draft) declareVariables() {
	for _, c := range d.containers {
		if !d.chance(3) {
			continue
		}
		env, _ := c.object["env"].(list)
		names := d.Perm(len(variableNames))
		for i := range 1 + d.IntN(4) {
			e := object{"name": variableNames[names[i]]}
			switch d.IntN(4) {
			case 0: // neither value nor source: empty
			case 1:
				e["value"] = ""
			case 2:
				e["value"] = "my own"
			case 3:
				e["valueFrom"] = object{"fieldRef": object{"fieldPath": "metadata.name"}}
			}
			env = append(env, e)
		}
		d.Shuffle(len(env), func(i, j int) { env[i], env[j] = env[j], env[i] })
		c.object["env"] = env
	}
}

// mountNear mounts volumes of the user's own beside, above and below the token's, with names that are like its.
func (d *draft) mountNear(token, directory string) {
	if directory != "" && !d.windows && d.chance(3) {
		places := []string{path.Dir(directory), directory + "/mine", directory + "-2", directory[:len(directory)-1], "/azure-identity-token"}
		volume := object{"name": "my-" + token[:min(len(token), 40)], "emptyDir": object{}}
		if d.chance(2) {
			delete(volume, "emptyDir")
			volume["projected"] = object{"sources": list{object{"serviceAccountToken": object{"audience": "api://AzureADTokenExchange", "path": "azure-identity-token"}}}}
		}
		for _, c := range d.containers {
			if !d.chance(2) {
				continue
			}
			mounts, _ := c.object["volumeMounts"].(list)
			c.object["volumeMounts"] = append(mounts, object{"name": volume["name"], "mountPath": places[d.IntN(len(places))]})
		}
		d.volumes = append(d.volumes, volume)
	}
	if len(d.volumes) > 0 {
		child(d.pod, "spec")["volumes"] = d.volumes
	}
}

// annotate adds annotations that the subject reads. All of them are valid.
func (d *draft) annotate() {
	annotations := object{}
	if d.chance(2) {
		annotations[suites.SkipAnnotation] = d.skip()
	}
	spec := child(d.pod, "spec")
	if d.chance(4) && spec["hostNetwork"] != true && !d.windows {
		annotations[suites.ProxyAnnotation] = "true"
	} else if d.chance(8) {
		annotations[suites.ProxyAnnotation] = "false"
	}
	if d.chance(4) {
		annotations[suites.ExpirationAnnotation] = fmt.Sprint(3600 + d.IntN(86400-3600+1))
	}
	if len(annotations) > 0 {
		merge(d.pod, object{"metadata": object{"annotations": annotations}})
	}
}

// skip is a skip-containers annotation: names that are there and others, spelled in all ways that SKP-01 speaks of.
func (d *draft) skip() string {
	var b strings.Builder
	for i := range d.IntN(5) {
		if i > 0 {
			b.WriteString([]string{";", ";", " ; ", ";;", "\t;", ","}[d.IntN(6)])
		}
		item := confusable[d.IntN(len(confusable))]
		switch d.IntN(8) {
		case 0, 1, 2, 3:
			item = name(d.containers[d.IntN(len(d.containers))].object)
		case 4:
			item = strings.ToUpper(item)
		case 5:
			item = ""
		case 6:
			item = []string{proxyName, proxyInitName}[d.IntN(2)]
		}
		b.WriteString(item)
	}
	return b.String()
}

// withLabel is the pod with the label. It shares everything else.
func withLabel(pod object) object {
	metadata := object{}
	for key, value := range child(pod, "metadata") {
		metadata[key] = value
	}
	labels := object{suites.UseLabel: "true"}
	merge(labels, child(pod, "metadata", "labels"))
	metadata["labels"] = labels
	return object{"apiVersion": pod["apiVersion"], "kind": pod["kind"], "metadata": metadata, "spec": pod["spec"]}
}
