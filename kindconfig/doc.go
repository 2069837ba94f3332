// Package kindconfig makes the configurations of kind clusters (kind.x-k8s.io/v1alpha4): topology, service account issuer,
// networking.
//
// It is pure: it starts nothing and looks at no machine. A patch for kubeadm that does not match the API version of the
// configuration which kind writes is ignored without a word, so that whoever creates a cluster has to look afterwards whether
// the issuer took effect (fixtures/cluster/kind does).
//
// Proxies take no configuration: kind hands HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment on to its nodes, and adds
// the cluster's networks and names to NO_PROXY.
package kindconfig
