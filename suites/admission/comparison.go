package admission

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

// decodeObject keeps numbers as they are written.
func decodeObject(t *suites.T, data []byte) object {
	o := object{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	t.Must(decoder.Decode(&o), "decode the API server's pod")
	return o
}

// removeInjected takes out of a mutated pod what a webhook may inject. What counts as injected is decided by
// comparison with the pod that was not mutated: what is there as well stays.
func removeInjected(mutated, plain object) {
	delete(child(mutated, "metadata", "labels"), suites.UseLabel)

	spec, plainSpec := child(mutated, "spec"), child(plain, "spec")
	token := map[any]bool{}
	remove(spec, "volumes", func(v object) bool {
		if !isToken(v) || byName(plainSpec, "volumes", v["name"]) != nil {
			return false
		}
		token[v["name"]] = true
		return true
	})
	for _, key := range []string{"initContainers", "containers"} {
		remove(spec, key, func(c object) bool {
			return (c["name"] == proxyName || c["name"] == proxyInitName) && byName(plainSpec, key, c["name"]) == nil
		})
		for c := range items(spec, key) {
			before := byName(plainSpec, key, c["name"])
			remove(c, "volumeMounts", func(m object) bool { return token[m["name"]] })
			remove(c, "env", func(e object) bool {
				name, _ := e["name"].(string)
				return strings.HasPrefix(name, "AZURE_") && byName(before, "env", name) == nil
			})
		}
	}
}

// removeIncidental takes out of a pod what differs between any two pods.
func removeIncidental(pod object) {
	metadata := child(pod, "metadata")
	for _, key := range []string{"uid", "creationTimestamp", "managedFields"} {
		delete(metadata, key)
	}
	if prefix, ok := metadata["generateName"].(string); ok {
		if name, _ := metadata["name"].(string); strings.HasPrefix(name, prefix) {
			delete(metadata, "name")
		}
	}
	for condition := range items(child(pod, "status"), "conditions") {
		delete(condition, "lastTransitionTime")
	}
	// The volume of the default token gets a random name.
	const defaultToken = "kube-api-access-"
	rename := func(holder object, key string) {
		for item := range items(holder, key) {
			if name, _ := item["name"].(string); strings.HasPrefix(name, defaultToken) {
				item["name"] = defaultToken
			}
		}
	}
	spec := child(pod, "spec")
	rename(spec, "volumes")
	for _, key := range []string{"initContainers", "containers"} {
		for c := range items(spec, key) {
			rename(c, "volumeMounts")
		}
	}
}

// isToken says whether the volume is a projected service account token.
func isToken(volume object) bool {
	for source := range items(child(volume, "projected"), "sources") {
		if source["serviceAccountToken"] != nil {
			return true
		}
	}
	return false
}
