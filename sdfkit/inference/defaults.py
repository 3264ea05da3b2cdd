"""Defaults that a command and the function it calls share. Imports nothing heavy, so that --help stays fast."""

# compare: points on each surface and in space; seconds per shape.
COMPARE_POINTS, COMPARE_TIMEOUT = 100_000, 600
# mesh: cells along a side of the cube.
MESH_RESOLUTION = 128
# perturb: strengths of the noise, shapes, least mean IoU of shapes that are not broken, cells along a side.
PERTURB_STRENGTHS = (0.05, 0.1, 0.17, 0.25, 0.34, 0.5)
PERTURB_SHAPES, PERTURB_CRITERION, PERTURB_RESOLUTION = 10, 0.5, 48
# predict and timestep-loss: steps of the DDIM sampler.
DDIM_STEPS = 50
# timestep-loss: views of each shape, draws of noise for each code and timestep.
TIMESTEP_VIEWS, TIMESTEP_DRAWS = 4, 8
