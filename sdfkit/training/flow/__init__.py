"""Training of Flow-SDF: images, recipes, rendering and stages."""
