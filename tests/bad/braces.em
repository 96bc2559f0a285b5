model M {
}
