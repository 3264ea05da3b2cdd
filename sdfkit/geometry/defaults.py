"""Default parameters of the geometry functions, which the commands share. This module imports no other."""

# make_watertight and polygonise_particles
WATERTIGHT_RESOLUTION = 256
GAP = 0.06
THICKNESS = 0.02
PARTICLES = 1_000_000

# sample_sdf
SAMPLES = 200_000
NEAR_SHARE = 0.5
NEAR_STD = (0.07, 0.02, 0.006)
SURFACE_POINTS = 20_000
# Least share of points at which a second method must give the same sign.
LEAST_AGREEMENT = 0.99

# solid_mesh
SHAPE_RESOLUTION = 128
