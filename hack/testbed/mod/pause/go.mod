module github.com/kubectl-etcd/kubectl-etcd/hack/testbed/mod/pause

go 1.26
