model M
latent w ~ Dirichlet(1.0)
