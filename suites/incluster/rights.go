package incluster

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

// Rights are what the tests of a shard ask of the API server outside the namespaces of others: the cluster role of its service account.
// Reading the API server's discovery and OpenAPI documents and the issuer's is every service account's right.
func Rights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule("", "create get list patch", "namespaces"),
		rule("", "create get list patch watch delete", "pods"),
		rule("", "get", "pods/log"),
		rule("", "patch", "pods/ephemeralcontainers", "pods/resize", "pods/status"),
		rule("", "create patch", "serviceaccounts"),
		rule("", "create", "serviceaccounts/token", "secrets"),
		rule("apps", "create", "deployments", "replicasets", "statefulsets", "daemonsets"),
		rule("batch", "create", "jobs", "cronjobs"),
		rule("batch", "get list watch", "jobs"),
		rule("admissionregistration.k8s.io", "get list", "mutatingwebhookconfigurations"),
	}
}

// ownRights are those in the run's namespace, where the results are.
func ownRights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{rule("", "create get update", "configmaps")}
}

// systemRights tell whether the API server was restarted while a test ran, which then blames nobody.
func systemRights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{rule("coordination.k8s.io", "list", "leases")}
}

// dialRights are those in a namespace with a Service that tests dial through a port-forward.
func dialRights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule("", "get", "services"),
		rule("", "create get", "pods/portforward"), // a websocket is opened by GET
	}
}

// emulatorRights are those in the emulator's namespace beside dialRights.
func emulatorRights() []rbacv1.PolicyRule {
	environment, operator := rule("", "get", "configmaps"), rule("", "create", "serviceaccounts/token")
	environment.ResourceNames, operator.ResourceNames = []string{"environment"}, []string{"operator"}
	return []rbacv1.PolicyRule{environment, operator}
}
