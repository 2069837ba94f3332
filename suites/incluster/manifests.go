package incluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Verb is the command that the pods run.
const Verb = "shard"

// Flags of the verb, and the variables that the pods have beside the index that every Indexed Job sets.
const (
	AssignmentFlag = "assignment"
	IndexVariable  = "JOB_COMPLETION_INDEX"
	PodVariable    = "POD_NAME"
)

const (
	shards       = "shards" // name of the Job, its account, its role and what it is told
	assignedAt   = "/assignment"
	replacements = 3 // of an index's pods
)

// NamespaceOf is the namespace of a run's shards.
func NamespaceOf(run string) string { return "wi-e2e-" + run + "-shards" }

// namespace is the run's, which owns everything that belongs to no namespace.
func namespace(run string) *corev1.Namespace {
	return &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: NamespaceOf(run), Labels: map[string]string{
			suites.RunLabel: run, "pod-security.kubernetes.io/enforce": "restricted",
		}},
	}
}

// manifest is everything else, in the order to create it: rights, the assignment, and the Job.
func manifest(a *Assignment, image string) ([]*unstructured.Unstructured, error) {
	told, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode the assignment of the shards: %w", err)
	}
	name := NamespaceOf(a.Run.ID) // of what is in no namespace of the run's own
	var all []runtime.Object
	all = append(all,
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Name: shards, Namespace: name}},
		&rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{a.Owner}}, Rules: Rights(),
		},
		&rbacv1.ClusterRoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{a.Owner}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}, Subjects: account(name),
		})
	rights := a.rightsIn()
	for _, namespace := range slices.Sorted(maps.Keys(rights)) {
		all = append(all,
			&rbacv1.Role{
				TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, OwnerReferences: []metav1.OwnerReference{a.Owner}}, Rules: rights[namespace],
			},
			&rbacv1.RoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, OwnerReferences: []metav1.OwnerReference{a.Owner}},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: account(name),
			})
	}
	all = append(all,
		&corev1.Secret{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: shards, Namespace: name},
			Immutable: new(true), Data: map[string][]byte{assignmentFile: told},
		},
		job(a, name, image))

	var objects []*unstructured.Unstructured
	for _, object := range all {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encode the objects of the shards: %w", err)
		}
		delete(fields, "status")
		objects = append(objects, &unstructured.Unstructured{Object: fields})
	}
	return objects, nil
}

func account(namespace string) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: shards}}
}

// rightsIn are the rights of the shards by namespace.
func (a *Assignment) rightsIn() map[string][]rbacv1.PolicyRule {
	rights := map[string][]rbacv1.PolicyRule{a.Namespace: ownRights(), metav1.NamespaceSystem: systemRights()}
	if len(a.Subject.Images) > 0 { // else its pods are out of reach
		rights[a.Subject.Service.Namespace] = dialRights()
	}
	if a.Azure != nil {
		rights[a.Azure.Emulator] = append(dialRights(), emulatorRights()...)
	}
	if a.IMDS != nil {
		rights[imds.Namespace] = dialRights()
	}
	return rights
}

func job(a *Assignment, namespace, image string) *batchv1.Job {
	total := int32(len(a.Tests))
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: shards, Namespace: namespace},
		Spec: batchv1.JobSpec{
			CompletionMode: new(batchv1.IndexedCompletion), Completions: &total, Parallelism: &total,
			BackoffLimitPerIndex: new(int32(replacements)), ActiveDeadlineSeconds: new(int64(a.Limit.Seconds())),
			// A pod is replaced when it has ended, and not while it is about to.
			PodReplacementPolicy: new(batchv1.Failed),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{suites.RunLabel: a.Run.ID}},
				Spec: corev1.PodSpec{
					ServiceAccountName: shards, RestartPolicy: corev1.RestartPolicyNever,
					EnableServiceLinks: new(false), TerminationGracePeriodSeconds: new(int64(10)),
					NodeSelector: map[string]string{corev1.LabelOSStable: string(corev1.Linux)},
					Affinity:     pods.OffVirtualNodes(),
					// Where there are several nodes, the shards are to be on different ones.
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
						LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{batchv1.JobNameLabel: shards}},
					}},
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), FSGroup: new(int64(65532)),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: "shard", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
						Args: []string{Verb, "--" + AssignmentFlag + "=" + assignedAt},
						Env: []corev1.EnvVar{
							{Name: PodVariable, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
							{Name: "TMPDIR", Value: "/tmp"},
						},
						Resources: corev1.ResourceRequirements{ // no CPU limit: throttling would show as somebody else's latency
							Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
							Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
						},
						TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
							Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
						VolumeMounts: []corev1.VolumeMount{
							{Name: "assignment", MountPath: assignedAt, ReadOnly: true}, {Name: "tmp", MountPath: "/tmp"},
						},
					}},
					Volumes: []corev1.Volume{
						{Name: "assignment", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: shards, DefaultMode: new(int32(0o440))}}},
						{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: new(resource.MustParse("256Mi"))}}},
					},
				},
			},
		},
	}
}

// rule is one of RBAC; verbs are separated by spaces.
func rule(group, verbs string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Verbs: strings.Fields(verbs), Resources: resources}
}

// ShardOf is the number of the shard, from 1, of an index of the Job, from 0.
func ShardOf(index string) (int, error) {
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 {
		return 0, fmt.Errorf("the index of the Job is %q", index)
	}
	return i + 1, nil
}
