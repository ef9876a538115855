"""Files: views, volumes and PSFs in and out, one room a format; nothing here knows how volumes are fused."""
