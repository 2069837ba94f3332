// Package incluster has tests executed by pods of the cluster under test: it divides them among shards, tells each what it
// needs, runs the shards as an Indexed Job, and follows what they come to. It executes no test itself and judges none.
//
// # Who does what
//
// The controller, which is the user's process, goes down the road of a run as far as there is one thing a cluster of each:
// cluster, subject, Azure, images, metadata service. A pod could do none of that with the rights that a pod should have. Then it
// divides the tests (Divide), and applies a Job of the wi-e2e image with as many indexes as shards. An index executes its
// tests, and nothing else. What is left for the controller are the tests that run alone, as they would disturb the other
// shards, and those that take the control plane, which is out of a pod's reach. It executes them when the Job has ended.
//
// There is one plan, one run and one record. The guards of a plain run hold: a planned test without a result is an error. On top of that the
// division is proved disjoint and complete, and a result counts only if it is of a test of that shard.
//
// # What a shard is told, and what it tells
//
// A Secret has the Assignment. It is mounted, so that the shard needs no right to read Secrets. Results are objects of the API and not lines of a log,
// which is cut: a ConfigMap for each test (Results), in the namespace of the run. It is made when the test begins, and holds the result
// once the test has ended. Each is far from etcd's bound, however many there are.
//
// # Resumption
//
// A pod that ends early is replaced by the Job. The new one executes those tests of the shard that have no result. A test that had
// begun begins anew, in another namespace and with identities of its own, and its result says so. A test during which several pods ended is an
// error: it may be what ends them. A pod that was given up and lives on cannot spoil anything: its next write is refused, as the
// object is not the one that it knows.
//
// # Rights
//
// The service account of the shards has the verbs that the tests use, and those alone (Rights). Each pod notes what it asked the API
// server for, by which the run tells rights that are not used. Tests create namespaces, so that most of their rights cannot be
// limited to one. All namespaces, roles and bindings are owned by the run's namespace, so that its deletion removes everything, even that
// which a shard has just made and which nobody else knows of.
package incluster
