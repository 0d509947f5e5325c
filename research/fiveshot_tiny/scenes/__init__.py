"""The drawn world: captioned scenes, and textures with the statistics of photographs."""
