model M
let a ＝ 3
