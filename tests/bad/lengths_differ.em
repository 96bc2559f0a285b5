model M
let M2 = [[1, 0], [0, 1]]
let v = [1, 2, 3]
let w = M2 @ v
