package admission

import (
	"iter"
	"strings"
)

// notSettable are the fields that no client sets in a pod that it creates, with the reason. A path stands for all
// fields below it. The paths are whole ones, so that a new field of the same name somewhere else is not lost.
var notSettable = map[string]string{
	"apiVersion":                 "the same in every pod",
	"kind":                       "the same in every pod",
	"metadata.namespace":         "the same in every pod",
	"status":                     "written through the status subresource",
	"spec.ephemeralContainers[]": "written through the ephemeralcontainers subresource",

	"metadata.creationTimestamp":          serverSet,
	"metadata.deletionGracePeriodSeconds": serverSet,
	"metadata.deletionTimestamp":          serverSet,
	"metadata.generation":                 serverSet,
	"metadata.managedFields[]":            serverSet,
	"metadata.resourceVersion":            serverSet,
	"metadata.selfLink":                   serverSet,
	"metadata.uid":                        serverSet,

	claimMetadata + "creationTimestamp":          notInTemplate,
	claimMetadata + "deletionGracePeriodSeconds": notInTemplate,
	claimMetadata + "deletionTimestamp":          notInTemplate,
	claimMetadata + "finalizers[]":               notInTemplate,
	claimMetadata + "generateName":               notInTemplate,
	claimMetadata + "generation":                 notInTemplate,
	claimMetadata + "managedFields[]":            notInTemplate,
	claimMetadata + "name":                       notInTemplate,
	claimMetadata + "namespace":                  notInTemplate,
	claimMetadata + "ownerReferences[]":          notInTemplate,
	claimMetadata + "resourceVersion":            notInTemplate,
	claimMetadata + "selfLink":                   notInTemplate,
	claimMetadata + "uid":                        notInTemplate,

	"spec.runtimeClassName": noRuntimeClass,
	"spec.overhead{}":       noRuntimeClass,

	"spec.resources.claims[]": "refused for a pod as a whole: limits and requests only",
	"spec.containers[].readinessProbe.terminationGracePeriodSeconds":     "refused in readiness probes",
	"spec.initContainers[].readinessProbe.terminationGracePeriodSeconds": "refused in readiness probes",
}

const (
	claimMetadata = "spec.volumes[].ephemeral.volumeClaimTemplate.metadata."

	serverSet      = "set by the API server"
	notInTemplate  = "refused in a volume claim template: labels and annotations only"
	noRuntimeClass = "needs a RuntimeClass, which is an object of the whole cluster: none is made for a test"
)

// notSettableBecause is the reason why no client sets the field; ok is false if clients do.
func notSettableBecause(f field) (reason string, ok bool) {
	for _, s := range f.steps {
		if reason, ok = notSettable[s.path]; ok {
			return reason, true
		}
	}
	return "", false
}

// Names that recipes share with each other.
const (
	fieldsServiceAccount = "fields"
	fieldsVolume         = "data"
	image                = "wi-e2e.invalid/never-pulled:1"
)

// recipes are for fields whose schema does not say enough, by path. A path stands for the ends of longer
// paths, too: httpGet.scheme is for all probes and hooks. The longest path gives the value, all give what a field
// needs besides.
var recipes = map[string]recipe{
	// Metadata
	"metadata.annotations{}":       {value: object{"wi-e2e.dev/field": "annotation"}},
	"metadata.labels{}":            {value: object{"wi-e2e.dev/field": "label"}},
	"metadata.finalizers[]":        {value: "wi-e2e.dev/finalizer"},
	"ownerReferences[].apiVersion": {value: "v1"},
	"ownerReferences[].kind":       {value: "ConfigMap"},

	// What occurs in many places: selectors, references, resources
	"matchExpressions[]":          {with: object{"operator": "In", "values": list{"wi-e2e"}}},
	"matchExpressions[].operator": {value: "NotIn"},
	"matchFields[]":               {with: object{"operator": "In", "values": list{"wi-e2e"}}},
	"matchFields[].key":           {value: "metadata.name"},
	"matchFields[].operator":      {value: "NotIn"},
	"matchLabelKeys[]":            {value: "app", with: object{"labelSelector": selector}},
	"mismatchLabelKeys[]":         {value: "app", with: object{"labelSelector": selector}},
	"configMapKeyRef":             {with: object{"name": "config"}},
	"configMapRef":                {with: object{"name": "config"}},
	"configMap":                   {with: object{"name": "config"}},
	"secretKeyRef":                {with: object{"name": "secret"}},
	"secretRef":                   {with: object{"name": "secret"}},
	"fieldRef.apiVersion":         {value: "v1"},
	"fieldRef.fieldPath":          {value: "metadata.name"},
	"resourceFieldRef":            {with: object{"containerName": "app"}},
	"resourceFieldRef.resource":   {value: "limits.cpu"},
	"resourceFieldRef.divisor":    {value: "1m"},
	"resources.limits{}":          {value: object{"cpu": "2"}},
	"resources.requests{}":        {value: object{"cpu": "1"}},
	"claims[]":                    {pod: object{"spec": object{"resourceClaims": list{object{"name": "wi-e2e", "resourceClaimName": "claim"}}}}},

	// Containers
	"initContainers[]":                      {with: object{"name": "init", "image": image}},
	"initContainers[].lifecycle":            {pod: sidecar},
	"initContainers[].livenessProbe":        {pod: sidecar},
	"initContainers[].readinessProbe":       {pod: sidecar},
	"initContainers[].startupProbe":         {pod: sidecar},
	"initContainers[].resizePolicy[]":       {pod: sidecar},
	"initContainers[].restartPolicy":        {value: "Always"},
	"containers[].restartPolicy":            {value: "Never"},
	"containers[].restartPolicyRules[]":     {pod: object{"spec": object{"containers": list{object{"restartPolicy": "Never"}}}}},
	"initContainers[].restartPolicyRules[]": {pod: object{"spec": object{"initContainers": list{object{"restartPolicy": "Never"}}}}},
	"restartPolicyRules[]":                  {with: object{"action": "Restart", "exitCodes": object{"operator": "In", "values": list{42}}}},
	"restartPolicyRules[].action":           {value: "Restart"},
	"exitCodes.operator":                    {value: "NotIn"},
	"fileKeyRef":                            {pod: emptyVolume, off: "must specify one of: `fieldRef`"},
	"fileKeyRef.volumeName":                 {value: fieldsVolume},
	"envFrom[]":                             {oneOf: []string{"configMapRef", "secretRef"}},
	"imagePullPolicy":                       {value: "Never"},
	"ports[].protocol":                      {value: "UDP"},
	"ports[].hostIP":                        {value: "127.0.0.1"},
	"volumeMounts[]":                        {pod: emptyVolume},
	"volumeMounts[].name":                   {value: fieldsVolume},
	"volumeMounts[].mountPath":              {value: "/data"},
	"volumeMounts[].mountPropagation":       {value: "HostToContainer"},
	"recursiveReadOnly":                     {value: "IfPossible", with: object{"readOnly": true}},
	"volumeDevices[]":                       {pod: claimVolume},
	"volumeDevices[].name":                  {value: fieldsVolume},
	"volumeDevices[].devicePath":            {value: "/dev/xvda"},
	"resizePolicy[].resourceName":           {value: "cpu"},
	"resizePolicy[].restartPolicy":          {value: "RestartContainer"},
	"terminationMessagePolicy":              {value: "FallbackToLogsOnError"},

	// Probes and hooks
	"livenessProbe":                  {oneOf: probeHandlers},
	"readinessProbe":                 {oneOf: probeHandlers},
	"startupProbe":                   {oneOf: probeHandlers},
	"livenessProbe.successThreshold": {value: 1},
	"startupProbe.successThreshold":  {value: 1},
	"exec":                           {with: object{"command": list{"true"}}},
	"httpGet.path":                   {value: "/healthy"},
	"httpGet.scheme":                 {value: "HTTPS"},
	"lifecycle.stopSignal":           {value: "SIGUSR1", pod: onLinux},

	// Security
	"seccompProfile.type":              {value: "RuntimeDefault"},
	"seccompProfile.localhostProfile":  {with: object{"type": "Localhost"}},
	"appArmorProfile.type":             {value: "RuntimeDefault"},
	"appArmorProfile.localhostProfile": {with: object{"type": "Localhost"}},
	"securityContext.procMount":        {value: "Unmasked", pod: object{"spec": object{"hostUsers": false}}},
	"windowsOptions":                   {pod: object{"spec": object{"os": object{"name": "windows"}}}},
	"windowsOptions.hostProcess":       {pod: object{"spec": object{"hostNetwork": true, "securityContext": object{"windowsOptions": object{"hostProcess": true}}}}},
	"seLinuxChangePolicy":              {value: "Recursive"},
	"sysctls[].name":                   {value: "kernel.shm_rmid_forced"},
	"supplementalGroupsPolicy":         {value: "Strict"},
	"fsGroupChangePolicy":              {value: "OnRootMismatch"},

	// The rest of the pod
	"spec.dnsPolicy":                  {value: "Default"},
	"nameservers[]":                   {value: "192.0.2.1"},
	"dnsConfig.options[]":             {with: object{"name": "ndots"}},
	"hostAliases[].ip":                {value: "192.0.2.1"},
	"spec.os.name":                    {value: "windows"},
	"spec.preemptionPolicy":           {value: "PreemptLowerPriority"},
	"spec.priorityClassName":          {value: "system-node-critical"},
	"spec.priority":                   {value: 2000001000, with: object{"priorityClassName": "system-node-critical"}},
	"resourceClaims[]":                {oneOf: []string{"resourceClaimName", "resourceClaimTemplateName"}},
	"spec.restartPolicy":              {value: "Never"},
	"spec.serviceAccountName":         {value: fieldsServiceAccount},
	"spec.serviceAccount":             {value: fieldsServiceAccount},
	"spec.hostUsers":                  {value: false},
	"spec.enableServiceLinks":         {value: false},
	"tolerations[]":                   {with: object{"key": "wi-e2e"}},
	"tolerations[].operator":          {value: "Exists"},
	"tolerations[].effect":            {value: "NoSchedule"},
	"tolerations[].tolerationSeconds": {with: object{"effect": "NoExecute"}},
	"minDomains":                      {with: object{"whenUnsatisfiable": "DoNotSchedule"}},
	"whenUnsatisfiable":               {value: "ScheduleAnyway"},
	"nodeAffinityPolicy":              {value: "Ignore"},
	"nodeTaintsPolicy":                {value: "Honor"},

	// Volumes
	"volumes[].name":                                {value: fieldsVolume},
	"azureDisk.diskURI":                             {value: "https://wi-e2e.blob.core.windows.net/disks/disk.vhd"},
	"azureDisk.kind":                                {value: "Dedicated"},
	"azureDisk.cachingMode":                         {value: "ReadOnly"},
	"downwardAPI.items[]":                           {oneOf: []string{"fieldRef", "resourceFieldRef"}},
	"volumeClaimTemplate":                           {with: object{"spec": object{"accessModes": list{"ReadWriteOnce"}, "resources": object{"requests": object{"storage": "1Gi"}}}}},
	"volumeClaimTemplate.spec.accessModes[]":        {value: "ReadWriteOnce"},
	"volumeClaimTemplate.spec.volumeMode":           {value: "Block"},
	"volumeClaimTemplate.spec.resources.limits{}":   {value: object{"storage": "2Gi"}},
	"volumeClaimTemplate.spec.resources.requests{}": {value: object{"storage": "1Gi"}},
	"dataSource.kind":                               {value: "PersistentVolumeClaim"},
	"dataSourceRef.kind":                            {value: "PersistentVolumeClaim"},
	"fc":                                            {oneOf: []string{"wwids", "targetWWNs"}},
	"fc.targetWWNs[]":                               {with: object{"lun": 1}},
	"volumes[].image":                               {with: object{"reference": image}},
	"volumes[].image.pullPolicy":                    {value: "Never"},
	"hostPath.type":                                 {value: "DirectoryOrCreate"},
	"iscsi.iqn":                                     {value: "iqn.2026-01.dev.wi-e2e:disk"},
	"iscsi.initiatorName":                           {value: "iqn.2026-01.dev.wi-e2e:node"},
	"chapAuthDiscovery":                             {with: object{"secretRef": object{"name": "secret"}}},
	"chapAuthSession":                               {with: object{"secretRef": object{"name": "secret"}}},
	"nfs.path":                                      {value: "/exported"},
	"sources[].secret":                              {with: object{"name": "secret"}},
	"volumes[].secret":                              {with: object{"secretName": "secret"}},
	"signerName":                                    {value: "wi-e2e.dev/signer"},
	"clusterTrustBundle":                            {oneOf: []string{"signerName", "name"}},
	"podCertificate":                                {oneOf: []string{"credentialBundlePath", "keyPath", "certificateChainPath"}},
	"podCertificate.keyType":                        {value: "ECDSAP256"},
	"podCertificate.maxExpirationSeconds":           {value: 7200},
	"podCertificate.userAnnotations{}":              {value: object{"wi-e2e.dev/field": "annotation"}},
	"serviceAccountToken.expirationSeconds":         {value: 7200},
	"quobyte.registry":                              {value: "registry.wi-e2e.invalid:7861"},
	"scaleIO":                                       {with: object{"volumeName": "disk"}},
	"storageos":                                     {with: object{"volumeName": "disk"}},
}

// Fragments that recipes share.
var (
	probeHandlers = []string{"exec", "grpc", "httpGet", "tcpSocket"}
	selector      = object{"matchLabels": object{"wi-e2e.dev/field": "selected"}}
	sidecar       = object{"spec": object{"initContainers": list{object{"restartPolicy": "Always"}}}}
	onLinux       = object{"spec": object{"os": object{"name": "linux"}}}
	emptyVolume   = volume("emptyDir", object{})
	claimVolume   = volume("persistentVolumeClaim", object{"claimName": "claim"})
)

func volume(kind string, source object) object {
	return object{"spec": object{"volumes": list{object{"name": fieldsVolume, kind: source}}}}
}

// fieldsBase is what every pod of a field has. No default token mount: its volume has a random name.
func fieldsBase() object {
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": "pod", "labels": object{"app": "wi-e2e"}},
		"spec": object{
			"serviceAccountName":           fieldsServiceAccount,
			"automountServiceAccountToken": false,
			"containers":                   list{object{"name": "app", "image": image}},
		},
	}
}

// recipesFor are the recipes that apply to a path, the most specific one first.
func recipesFor(path string) iter.Seq[recipe] {
	return func(yield func(recipe) bool) {
		for end := range ends(path) {
			if r, ok := recipes[end]; ok && !yield(r) {
				return
			}
		}
	}
}

// ends are the path and its ends, the longest one first.
func ends(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := true; more; {
			if !yield(path) {
				return
			}
			_, path, more = strings.Cut(path, ".")
		}
	}
}
