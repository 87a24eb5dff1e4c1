module github.com/kubectl-etcd/kubectl-etcd/hack/testbed/mod/lb

go 1.26
