model M
let a = logdet([[1, 2, 3], [4, 5, 6]])
