"""Does things inside network namespaces of this machine, for the drivers that read and probe links."""
