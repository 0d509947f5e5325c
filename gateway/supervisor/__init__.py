"""The process tree behind `fiveshot up`: embedded servers, services and workers on loopback."""
