"""The models that come with the package: one safetensors file each, its card inside."""
