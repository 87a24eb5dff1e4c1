package plugin

import (
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosted"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/static"
)

// ways are the ways there are to restore; the place where they are chosen.
func ways() restore.Ways {
	return restore.Ways{restore.Cold: hosted.New, restore.Hot: hot.New, restore.Static: static.New}
}
