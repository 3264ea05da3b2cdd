"""Training of Flow-SDF: pictures, recipes, rendering and stages."""
