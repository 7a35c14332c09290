"""The image of kind's nodes, made here from Debian packages and Go modules, where kindest/node can't be pulled."""
