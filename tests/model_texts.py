"""Models of every kind, with the domains and lengths that must be found in them."""
# ruff: noqa: E501

# name -> (text, variable -> domain and lengths)
TEXTS: dict[str, tuple[str, dict[str, str]]] = {
    "mixture": (
        """model GaussianMixture

size K = 2                              # a default

param weights : simplex[K]
param mean[K] : real[D]
param cov[K]  : spd[D]

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]])
""",
        {"z": "category[K] N", "x": "real N D"},
    ),
    "membership": (
        """model Membership
param alpha : simplex[2]
param share[2] : unit
for i in N:
    latent g[i] ~ Dirichlet(5 * alpha)
    for j in J:
        latent z[i, j] ~ Categorical(g[i])
        observed y[i, j] ~ Bernoulli(share[z[i, j]])
""",
        {"g": "simplex N 2", "z": "category[2] N J", "y": "bool N J"},
    ),
    "topics": (
        """model Topics
size K = 10
param topic[K] : simplex[V]
param alpha    : positive[K]
for d in D:
    latent theta[d] ~ Dirichlet(alpha)
    for i in L[d]:
        latent   z[d, i] ~ Categorical(theta[d])
        observed w[d, i] ~ Categorical(topic[z[d, i]])
infer theta, z by meanfield
""",
        {"theta": "simplex D K", "z": "category[K] D L[d]", "w": "category[V] D L[d]"},
    ),
    "state space": (
        """model StateSpace
size Q = 2
param A  : real[Q, Q]
param C  : real[D, Q]
param Qn : spd[Q]
param R  : spd[D]
param m0 : real[Q]
param P0 : spd[Q]
for t in T:
    latent   h[t] ~ MvNormal(m0, P0) if t == 0 else MvNormal(A @ h[t-1], Qn)
    observed x[t] ~ MvNormal(C @ h[t], R)
""",
        {"h": "real T Q", "x": "real T D"},
    ),
    "random intercepts": (
        """model RandomIntercepts
param beta  : real[P]
param sd    : positive
param sd_b  : positive
for g in G:
    latent b[g] ~ Normal(0, sd_b)
for n in N:
    given    X[n]     : real[P]
    given    group[n] : index[G]
    observed y[n] ~ Normal(X[n] @ beta + b[group[n]], sd)
""",
        {"b": "real G", "y": "real N"},
    ),
    "robust": (
        """model Robust
param beta : real[P]
param s2   : positive
param nu   : positive
for n in N:
    given    X[n] : real[P]
    latent   u[n] ~ Gamma(nu/2, nu/2)
    observed y[n] ~ Normal(X[n] @ beta, var = s2 / u[n])
""",
        {"u": "positive N", "y": "real N"},
    ),
    "linkage": (
        """model Linkage                          # Rao 1973
param t : unit
let   seen = [[1,0,0,0], [1,0,0,0], [0,1,0,0], [0,0,1,0], [0,0,0,1]]
for n in N:
    latent   cell[n]      ~ Categorical([1/2, t/4, (1-t)/4, (1-t)/4, t/4])
    observed phenotype[n] ~ Categorical(seen[cell[n]])
""",
        {"cell": "category[5] N", "phenotype": "category[4] N"},
    ),
    "factor analysers": (
        """model FactorAnalysers
size K = 3
size Q = 2
param weights    : simplex[K]
param mean[K]    : real[D]
param load[K]    : real[D, Q]
param noise      : positive[D]
for n in N:
    latent   z[n] ~ Categorical(weights)
    latent   y[n] ~ MvNormal(zeros(Q), eye(Q))
    observed x[n] ~ MvNormal(mean[z[n]] + load[z[n]] @ y[n], diag(noise))
""",
        {"z": "category[K] N", "y": "real N Q", "x": "real N D"},
    ),
    "bayesian mixture": (
        """model BayesianMixture
size K = 10
given a0 : positive = 1.0
latent weights ~ Dirichlet(a0 * ones(K))
for k in K:
    latent prec[k] ~ Wishart(D + 2, eye(D))
    latent mean[k] ~ MvNormal(zeros(D), precision = 0.1 * prec[k])
for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ MvNormal(mean[z[n]], precision = prec[z[n]])
infer weights, (mean, prec), z by meanfield
""",
        {"weights": "simplex K", "prec": "spd K D D", "mean": "real K D", "z": "category[K] N", "x": "real N D"},
    ),
    "logistic counts": (
        """model Counts
param beta : real[P]
param tau  : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given    X[n]     : real[P]
    given    group[n] : index[G]
    observed y[n] ~ Poisson(log_rate = X[n] @ beta + b[group[n]])
infer b by saem
""",
        {"b": "real G", "y": "count N"},
    ),
    "word alignment": (
        """model Alignment
param dictionary[E] : simplex[F]
for s in S:
    for i in L[s]:
        given source[s, i] : category[E]
    for j in M[s]:
        latent   align[s, j]  ~ Categorical(ones(L[s]) / L[s])
        observed target[s, j] : category[F] ~ Categorical(dictionary[source[s, align[s, j]]])
""",
        {"align": "category[L[s]] S M[s]", "target": "category[F] S M[s]"},
    ),
    "own family": (
        """model Waves
family Wave(x : positive | s : positive) = log(x) - 2*log(s) - x^2 / (2*s^2)
family Wave(x : positive | v : positive) = log(x) - log(v) - x^2 / (2*v)
param s : positive
for n in N: observed h[n] ~ Wave(s)
for n in N: observed g[n] ~ Wave(v = s)
""",
        {"h": "positive N", "g": "positive N"},
    ),
    "chain": (
        """model Hmm
size K = 3
param start : simplex[K]
param trans[K] : simplex[K]
param rate[K] : positive
for s in S:
    for t in T[s]:
        latent   z[s, t] ~ Categorical(start) if t == 0 else Categorical(trans[z[s, t-1]])
        observed x[s, t] ~ Poisson(rate[z[s, t]])
""",
        {"z": "category[K] S T[s]", "x": "count S T[s]"},
    ),
    "grid": (
        """model G
param J : positive
for i in R:
    for j in C:
        latent z[i, j] ~ Bernoulli(0.5) if i == 0 and j == 0 else Bernoulli(logit = z[i, j-1]) if i == 0 else Bernoulli(logit = z[i-1, j] + (z[i, j-1] if j > 0 else 0))
        observed y[i,j] ~ Normal(J*z[i,j], 1)
""",
        {"z": "bool R C", "y": "real R C"},
    ),
    "blocks of a graph": (
        """model B
size K = 2
param w : simplex[K]
param link[K, K] : unit
for i in N:
    latent z[i] ~ Categorical(w)
for i in N:
    for j in N if j < i:
        observed edge[i, j] ~ Bernoulli(link[z[i], z[j]])
""",
        {"z": "category[K] N", "edge": "bool N N"},
    ),
    "probit": (
        """model P
param beta : real[P]
for n in N:
    given X[n] : real[P]
    latent y[n] ~ Normal(X[n] @ beta, 1)
    observed s[n] ~ Delta(y[n] > 0)
""",
        {"y": "real N", "s": "bool N"},
    ),
    "mixed families": (
        """model Z
param p : unit
param rate : positive
for n in N:
    latent z[n] ~ Bernoulli(p)
    observed x[n] ~ Delta(0) if z[n] == 0 else Poisson(rate)
    observed q[n] ~ Exponential(rate) if z[n] == 0 else LogNormal(0, 1)
""",
        {"z": "bool N", "x": "count N", "q": "positive N"},
    ),
    "item response": (
        """model I
size Q = 2
for u in U:
    latent theta[u] ~ MvNormal(zeros(Q), eye(Q))
param beta[I] : real[Q]
param c[I] : real
for r in R:
    given user[r] : index[U]
    given item[r] : category[I]
    observed y[r] ~ Bernoulli(logit = theta[user[r]] @ beta[item[r]] + c[item[r]])
infer theta by mcmc(kernel = gibbs, sweeps = 20)
""",
        {"theta": "real U Q", "y": "bool R"},
    ),
    "two lags": (
        """model A
param a : real
param b : real
param s : positive
for t in T:
    observed y[t] ~ Normal(0, 10) if t < 2 else Normal(a*y[t-1] + b*y[t-2], s)
""",
        {"y": "real T"},
    ),
    "tree": (
        """model T
param s : positive
for n in N:
    given parent[n] : index[N]
    latent h[n] ~ Normal(0, 1) if n == 0 else Normal(h[parent[n]], s)
    observed y[n] ~ Normal(h[n], 1)
""",
        {"h": "real N", "y": "real N"},
    ),
    "priors": (
        """model Pr
size K = 3
given m0[K] : real = [0, 1, 2]
given a0 : positive = 1.0
for k in K: param m[k] : real ~ Normal(m0[k], 1)
param w : simplex[K] ~ Dirichlet(a0)
param s[K] : positive ~ Gamma(2, rate = 1)
param rw[K] : real ~ Normal(0, 1)
for k in K: param walk[k] : real ~ Normal(0,1) if k == 0 else Normal(walk[k-1], 1)
for n in N:
    latent z[n] ~ Categorical(w)
    observed x[n] ~ Normal([-m[0], m[1], m[2]][z[n]] + rw[z[n]] + walk[z[n]], s[z[n]])
""",
        {"z": "category[K] N", "x": "real N"},
    ),
    "symmetric Dirichlet": (
        """model S
latent weights ~ Dirichlet(1.0)
param mean[3] : real
for n in N:
    latent z[n] ~ Categorical(weights)
    observed x[n] ~ Normal(mean[z[n]], 1)
""",
        {"weights": "simplex 3", "z": "category[3] N", "x": "real N"},
    ),
    "bounded counts": (
        """model Bi
param p : unit
param m[4] : real
for n in N:
    given tr[n] : count
    observed c[n] ~ Binomial(tr[n], p)
    latent k[n] ~ Binomial(3, p)
    observed y[n] ~ Normal(m[k[n]], 1)
""",
        {"c": "count N", "k": "count N", "y": "real N"},
    ),
    "tables": (
        """model Se
param season[12] : real
param level : real[1]
let table = [0, 1, 1, 0]
param eff[2] : real
for t in T:
    given g[t] : category[4]
    observed y[t] ~ Normal(season[t % 12] + eff[table[g[t]]] + sum(season[k] for k in 12 if k < 3) + level[0], 1)
""",
        {"y": "real T"},
    ),
    "ragged": (
        """model R
param a[S] : real
param pos : real[M]
for m in M: observed seen[m] ~ Normal(pos[m], 1)
for s in S:
    for t in T[s]:
        given parent[s, t] : index[T]
        latent h[s, t] ~ Normal(0, 1) if t == 0 else Normal(h[s, parent[s, t]], 1)
        observed y[s, t] ~ Normal(h[s,t] + a[s] + pos[t]*(t == T[s]-1), 1)
    observed tot[s] ~ Normal(sum(h[s, t] for t in T[s]), 1)
""",
        {"seen": "real M", "h": "real S T[s]", "y": "real S T[s]", "tot": "real S"},
    ),
    "multinomial": (
        """model Mu
size K=2
param w : simplex[K]
param t[K] : simplex[V]
for d in D:
    latent z[d] ~ Categorical(w)
    observed c[d] ~ Multinomial(t[z[d]])
    observed e[d] ~ Multinomial(t[z[d]], trials = 10)
""",
        {"z": "category[K] D", "c": "count D V", "e": "count D V"},
    ),
    "experts": (
        """model Gate
size K=2
param W : real[K, P]
param b[K] : real[P]
for n in N:
    given X[n] : real[P]
    latent z[n] ~ Categorical(softmax(W @ X[n]))
    observed y[n] ~ Normal(X[n] @ b[z[n]], exp(b[z[n]][0]))
""",
        {"z": "category[K] N", "y": "real N"},
    ),
    "structured": (
        """model St
param c : real
param s2 : positive
let C = [[1, 0], [c, 1]]
let S = s2 * eye(2)
for n in N:
    let mu[n] = concat(u[n], 0)
    latent u[n] ~ Normal(0, 1)
    observed x[n] ~ MvNormal(C @ mu[n], S)
""",
        {"u": "real N", "x": "real N 2"},
    ),
    "penalties": (
        """model F
param a : real[P]
param s : positive
factor -sum(abs(a))
factor -sum(a[p]^2 for p in P)/2
for n in N:
    given X[n] : real[P]
    observed y[n] ~ Laplace(X[n] @ a, s)
""",
        {"y": "real N"},
    ),
    "deterministic": (
        """model D
param p : unit
param s : positive
for n in N:
    for j in 3:
        latent b[n, j] ~ Bernoulli(p)
    latent tot[n] ~ Delta(b[n,0] + b[n,1] + b[n,2])
    latent spike[n] ~ Delta(0) if b[n,0] == 0 else Normal(0, s)
    observed y[n] ~ Normal(tot[n] + spike[n], 1)
""",
        {"b": "bool N 3", "tot": "count N", "spike": "real N", "y": "real N"},
    ),
    "cut points": (
        """model O
param cut : ordered[K - 1]
for n in N:
    latent u[n] ~ Normal(0, 1)
    observed y[n] : category[K] ~ Delta(sum(u[n] > cut[k] for k in K - 1))
""",
        {"u": "real N", "y": "category[K] N"},
    ),
    "vectors of scalars": (
        """model V
param mu[K] : real[D]
param sd[K] : positive[D]
param w : simplex[K]
size K = 2
for n in N:
    latent z[n] ~ Categorical(w)
    observed x[n] : real[D] ~ Normal(mu[z[n]], sd[z[n]])
""",
        {"z": "category[K] N", "x": "real N D"},
    ),
    "change point": (
        """model C
param r : positive[2]
latent tau ~ Categorical(ones(T) / T)
for t in T: observed y[t] ~ Poisson(r[0] if t < tau else r[1])
""",
        {"tau": "category[T]", "y": "count T"},
    ),
    "factorial chain": (
        """model FH
size A = 2
param st[A]: simplex[K]
param tr[A,K]: simplex[K]
size K=2
for t in T:
    for a in A:
        latent z[t,a] ~ Categorical(st[a]) if t == 0 else Categorical(tr[a, z[t-1, a]])
    observed y[t] ~ Normal(sum(z[t,a] for a in A), 1)
""",
        {"z": "category[K] T A", "y": "real T"},
    ),
    "vectors and point masses": (
        """model D
param A : real[D, Q]
param w[K] : real ~ Normal(w0, 1)
given w0 : real[K]
for n in N:
    latent h[n] ~ MvNormal(zeros(Q), eye(Q))
    latent y[n] ~ Delta(A @ h[n])
    observed x[n] ~ MvNormal(y[n], eye(D))
    observed c[n] ~ Normal(sum(w), 1)
""",
        {"h": "real N Q", "y": "real N D", "x": "real N D", "c": "real N"},
    ),
    "ragged twice": (
        """model R
for s in S:
    for t in T[s]:
        given a[s,t] : real
for u in S:
    for t in T[u]:
        observed y[u, t] ~ Normal(a[u, t] if t == 0 else a[u, t-1] + T[u], 1)
    observed m[u] ~ Normal(sum(a[u]) + sum(a[u, k] for k in T[u]), 1)
""",
        {"y": "real S T[u]", "m": "real S"},
    ),
    "array of categories": (
        """model A
param p[J] : simplex[K]
for n in N:
    observed y[n, J] : category[K] ~ Categorical(p)
""",
        {"y": "category[K] N J"},
    ),
    "factors in a plate": (
        """model P
for i in N:
    latent z[i] ~ Bernoulli(0.5)
for i in N:
    factor 0 if i == 0 else 2*(z[i] == z[i-1])
    observed x[i] ~ Normal(z[i], 1)
""",
        {"z": "bool N", "x": "real N"},
    ),
    "truncated": (
        """model P
param m : real
for i in N:
    given lo[i] : real
    observed x[i] : real(min = lo[i]) ~ Normal(m, 1)
    observed w[i] : count(min = 1) ~ Poisson(2)
""",
        {"x": "real N", "w": "count N"},
    ),
    "switching states": (
        """model S
size K = 2
param A[K] : real[Q, Q]
param tr[K] : simplex[K]
for t in T:
    latent z[t] ~ Categorical(ones(K)/K) if t == 0 else Categorical(tr[z[t-1]])
    latent h[t] ~ MvNormal(zeros(Q), eye(Q)) if t == 0 else MvNormal(A[z[t]] @ h[t-1], eye(Q))
    observed x[t] ~ MvNormal(h[t], eye(Q))
infer h by mcmc
""",
        {"z": "category[K] T", "h": "real T Q", "x": "real T Q"},
    ),
    "binary features": (
        """model F
size Q = 4
param pi : unit
param W : real[Q, D]
for n in N:
    for q in Q:
        latent z[n, q] ~ Bernoulli(pi)
    observed x[n] ~ MvNormal(z[n] @ W, 0.1*eye(D))
""",
        {"z": "bool N Q", "x": "real N D"},
    ),
    "data decide": (
        """model L
param m : real
for t in T:
    given flag[t] : bool
    given c[t] : index[T]
    observed x[t] ~ Normal(m if not flag[t] else x[c[t]], 1)
    observed y[t] ~ Normal([m, -m][flag[t]], 1)
""",
        {"x": "real T", "y": "real T"},
    ),
    "censored": (
        """model Cens
param m : real
param s : positive
for n in N:
    given c[n] : real
    latent y[n] ~ Normal(m, s)
    observed cens[n] ~ Delta(y[n] > c[n])
    observed v[n] ~ Delta(c[n] if y[n] > c[n] else y[n])
""",
        {"y": "real N", "cens": "bool N", "v": "real N"},
    ),
    "stick breaking": (
        """model St
size K = 5
param v : unit[K-1]
let w = [v[k]*exp(sum(log1p(-v[j]) for j in K-1 if j < k)) if k < K-1 else 1 - sum(v) for k in K]
for n in N: observed x[n] ~ Categorical(w)
""",
        {"x": "category[K] N"},
    ),
    "spike of a vector": (
        """model A
param S : spd[D]
for n in N:
    latent z[n] ~ Bernoulli(0.5)
    latent x[n] ~ Delta(zeros(D)) if z[n] == 0 else MvNormal(zeros(D), S)
    observed y[n] ~ MvNormal(x[n], eye(D))
""",
        {"z": "bool N", "x": "real N D", "y": "real N D"},
    ),
    "running sum": (
        """model A
for t in T:
    latent e[t] ~ Normal(0, 1)
    latent c[t] ~ Delta(e[t]) if t == 0 else Delta(c[t-1] + e[t])
    observed y[t] ~ Normal(c[t], 1)
""",
        {"e": "real T", "c": "real T", "y": "real T"},
    ),
    "counter": (
        """model A
param p : unit
for t in T:
    latent b[t] ~ Bernoulli(p)
    latent c[t] ~ Delta(0) if t == 0 else Delta(c[t-1] + b[t])
    observed y[t] ~ Normal(c[t], 1)
""",
        {"b": "bool T", "c": "count T", "y": "real T"},
    ),
    "stock from 0": (
        """model A
param d : unit
for t in T:
    given x[t] : real
    latent v[t] ~ Delta(0) if t == 0 else Delta(d*v[t-1] + x[t])
    observed y[t] ~ Normal(v[t], 1)
""",
        {"v": "real T", "y": "real T"},
    ),
    "difference of counts": (
        """model A
for n in N:
    latent u[n] ~ Binomial(2, 0.5)
    latent v[n] ~ Binomial(3, 0.2)
    observed y[n] ~ Delta(u[n] - v[n])
""",
        {"u": "count N", "v": "count N", "y": "real N"},
    ),
    "lets of latents": (
        """model A
param w : simplex[K]
for n in N:
    latent z[n] ~ Categorical(w)
    let on[n] = z[n] == 0
    let two[n] = [z[n], z[n] + 1]
    observed y[n] ~ Normal(on[n] + two[n][1], 1)
""",
        {"z": "category[K] N", "y": "real N"},
    ),
    "nested indices": (
        """model A
param m[A, B] : real[D]
for n in N:
    given a[n] : category[A]
    latent b[n] ~ Categorical(ones(B)/B)
    observed y[n] ~ MvNormal(m[a[n]][b[n]], eye(D))
    observed v[n] ~ Normal(m[a[n], b[n], 0], 1)
""",
        {"b": "category[B] N", "y": "real N D", "v": "real N"},
    ),
    "tables of data": (
        """model A
given tab[K, J] : category[V]
param e[V] : real
for n in N:
    given j[n] : index[J]
    latent k[n] ~ Categorical(ones(K)/K)
    observed y[n] ~ Normal(e[tab[k[n], j[n]]], 1)
""",
        {"k": "category[K] N", "y": "real N"},
    ),
    "odd names": (
        """model model
param param : real
given given : real = 1
size size = 2
param p[size] : real
factor -sum(p)^2
let let = size + given
for for_ in infer:
    latent latent[for_] ~ Normal(param, 1)
    observed observed[for_] ~ Normal(latent[for_] + let, 1)
factor -param^2
""",
        {"latent": "real infer", "observed": "real infer"},
    ),
    "structured priors": (
        """model W
param S[K] : spd[D] ~ InverseWishart(D + 2, eye(D))
param m[K] : real[D] ~ MvNormal(zeros(D), eye(D))
param w : simplex[K] ~ Dirichlet(2*ones(K))
param rho : correlation[D]
param a : ordered[3]
param z0 : zero_sum[J] ~ Normal(0, 1)
for j in J: observed w0[j] ~ Normal(z0[j], 1)
for n in N:
    latent z[n] ~ Categorical(w)
    observed x[n] ~ MvNormal(m[z[n]], S[z[n]])
    observed x2[n] ~ MvNormal(m[z[n]], rho)
    observed q[n] ~ Normal(a[0] + z0[0], 1)
""",
        {"w0": "real J", "z": "category[K] N", "x": "real N D", "x2": "real N D", "q": "real N"},
    ),
    "filtered": (
        """model E
param b : real
for i in N:
    for j in N if j != i:
        given has[i,j] : bool
        observed e[i,j] ~ Bernoulli(logit = b) if has[i,j] else Bernoulli(0.5)
""",
        {"e": "bool N N"},
    ),
    "arguments inside bounds": (
        """model A
latent s ~ Uniform(0, 10)
param w : simplex[3]
param S : spd[D]
param lo : real(min = 0)
for n in N:
    latent b[n] ~ Bernoulli(w[0])
    latent c[n] ~ Bernoulli(0.3)
    latent tot[n] ~ Delta(b[n] + c[n])
    observed x[n] ~ Normal([0, 1, 2][tot[n]], s)
    observed y[n] ~ Normal(0, var = S[0, 0])
    observed q[n] ~ Normal(0, w[1])
    observed r[n] ~ Normal(0, lo)
    observed u[n] ~ MvNormal(zeros(D), S)
""",
        {
            "s": "real",
            "b": "bool N",
            "c": "bool N",
            "tot": "count N",
            "x": "real N",
            "y": "real N",
            "q": "real N",
            "r": "real N",
            "u": "real N D",
        },
    ),
    "penalty on differences": (
        """model A
for t in T:
    latent z[t] ~ Normal(0, 1)
    let d[t] = z[t+1] - z[t] if t < T-1 else 0
    factor -d[t]^2
    observed x[t] ~ Normal(z[t], 1)
""",
        {"z": "real T", "x": "real T"},
    ),
}
