"""Default values that a command shares with the function that it calls.

This module imports nothing, so that --help stays fast.
"""

# compare: number of points on each surface and in space; time limit in seconds per shape.
COMPARE_POINTS, COMPARE_TIMEOUT = 100_000, 600
# interpolate: number of pairs, codes between the ends of a path, cells along a side of the query cube, and how far
# volumes and areas may lie outside those of the ends, as a share of the greater one.
INTERPOLATE_PAIRS, INTERPOLATE_BETWEEN, INTERPOLATE_RESOLUTION, INTERPOLATE_TOLERANCE = 20, 7, 64, 0.05
# mesh: cells along a side of the query cube, from -1 to 1 along each axis.
MESH_RESOLUTION = 128
# mesh: share of a mesh's area below which a connected piece is left out as a speck. 400 generated shapes of 40
# categories are all one piece. In meshes of decoded codes, specks had at most 0.48 % of the area, other pieces more.
SPECK_AREA = 0.005
# perturb: standard deviations of the noise, number of shapes, minimum IoU of a shape that is not broken, cells along a
# side of the query cube.
PERTURB_STRENGTHS = (0.05, 0.1, 0.17, 0.25, 0.34, 0.5)
PERTURB_SHAPES, PERTURB_CRITERION, PERTURB_RESOLUTION = 10, 0.5, 48
# predict and timestep-loss: number of steps of the DDIM sampler.
DDIM_STEPS = 50
# timestep-loss: number of views of each shape, number of noise samples for each latent code and timestep.
TIMESTEP_VIEWS, TIMESTEP_DRAWS = 4, 8
