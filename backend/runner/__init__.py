"""The seam to mmengine's Runner. Only ``config`` may be imported without a training stack."""
