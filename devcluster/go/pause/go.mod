module keras-operator.dev/devcluster/pause

go 1.26.0
