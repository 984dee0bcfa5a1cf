package evidence

func appendChild(dir string) {}
