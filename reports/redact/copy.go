package redact

import "reflect"

// Copy is a deep copy of a value, with secrets withheld from all its exported strings. Keys of maps stay: they are names.
func Copy[T any](r *Redactor, value T) T {
	copied := r.copy(reflect.ValueOf(&value).Elem())
	return copied.Interface().(T)
}

// copy is of values that JSON has: a channel, a function or an interface in it stays what it is.
func (r *Redactor) copy(v reflect.Value) reflect.Value {
	made := reflect.New(v.Type()).Elem()
	made.Set(v) // with what is not exported, as the time of a time.Time
	switch v.Kind() {
	case reflect.String:
		made.SetString(r.String(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			made.Set(reflect.New(v.Type().Elem()))
			made.Elem().Set(r.copy(v.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				made.Field(i).Set(r.copy(v.Field(i)))
			}
		}
	case reflect.Slice:
		if !v.IsNil() {
			made.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				made.Index(i).Set(r.copy(v.Index(i)))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			made.Index(i).Set(r.copy(v.Index(i)))
		}
	case reflect.Map:
		if !v.IsNil() {
			made.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for key, element := range v.Seq2() {
				made.SetMapIndex(key, r.copy(element))
			}
		}
	}
	return made
}
