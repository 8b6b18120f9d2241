"""Python and the kernel's BPF: objects, maps typed from BTF, pins, links. Knows no Kubernetes."""
